//! Templates of scoped signing keys: subjects with placeholders, filled in for each user (AUTH-54).

use super::user::{Lists, UserLimits};
use crate::routing::subject::is_valid_pattern;

/// Subjects one list may grow to.
pub const SUBJECTS_MAX: usize = 4096;

/// What placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// `name()`.
    pub name: &'a str,
    /// `subject()`.
    pub subject: &'a str,
    /// `account-name()`.
    pub account_name: &'a str,
    /// `account-subject()`.
    pub account_subject: &'a str,
    /// `tag(x)`.
    pub tags: &'a [String],
    /// `account-tag(x)`.
    pub account_tags: &'a [String],
}

/// A template cannot be filled in for this user: it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfillable;

/// The template filled in.
///
/// # Errors
/// A placeholder is none, something is denied under a name that is not there, or there are more
/// than [`SUBJECTS_MAX`].
pub fn fill(template: &UserLimits, names: &Names<'_>) -> Result<UserLimits, Unfillable> {
    let mut filled = template.clone();
    let permissions = &mut filled.permissions;
    for lists in [&mut permissions.publish, &mut permissions.subscribe] {
        fill_lists(lists, names)?;
    }
    Ok(filled)
}

fn fill_lists(lists: &mut Lists, names: &Names<'_>) -> Result<(), Unfillable> {
    let limited = !lists.allow.is_empty();
    lists.allow = fill_list(&lists.allow, names, false)?;
    lists.deny = fill_list(&lists.deny, names, true)?;
    // Nothing left of what was allowed must not become everything.
    if limited && lists.allow.is_empty() && !lists.deny.iter().any(|it| it == ">") {
        lists.deny.push(">".into());
    }
    Ok(())
}

/// What cannot be filled in or is no subject then is left out of what is allowed, but never of what
/// is denied.
fn fill_list(list: &[String], names: &Names<'_>, deny: bool) -> Result<Vec<String>, Unfillable> {
    if !list.iter().any(|entry| placeholder(entry).is_some()) {
        return Ok(list.to_vec());
    }
    let mut filled = Vec::with_capacity(list.len());
    for entry in list {
        for subject in fill_entry(entry, names, deny)? {
            if filled.len() >= SUBJECTS_MAX {
                return Err(Unfillable);
            }
            if is_valid_pattern(subject.as_bytes()) {
                filled.push(subject);
            } else if deny {
                return Err(Unfillable);
            }
        }
    }
    Ok(filled)
}

/// All subjects that one entry stands for: the product of its placeholders' values, where the same
/// placeholder has the same value throughout.
fn fill_entry(entry: &str, names: &Names<'_>, deny: bool) -> Result<Vec<String>, Unfillable> {
    let mut texts = vec![String::new()];
    // What each distinct placeholder is in each of `texts`.
    let mut known: Vec<&str> = Vec::new();
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    let mut values: Vec<Vec<String>> = Vec::new();
    let mut rest = entry;
    while let Some((before, inner, after)) = placeholder(rest) {
        texts.iter_mut().for_each(|text| text.push_str(before));
        let at = known.iter().position(|&it| it == inner);
        let at = match at {
            Some(at) => at,
            None => {
                let found = lookup(inner.trim(), names, deny)?;
                if texts.len().saturating_mul(found.len()) > SUBJECTS_MAX {
                    return Err(Unfillable);
                }
                let count = found.len();
                texts = spread(&texts, count);
                chosen = spread(&chosen, count);
                for (place, choice) in chosen.iter_mut().enumerate() {
                    choice.push(place % count);
                }
                known.push(inner);
                values.push(found);
                known.len() - 1
            }
        };
        for (text, choice) in texts.iter_mut().zip(&chosen) {
            let value = choice.get(at).and_then(|&pick| values.get(at)?.get(pick));
            text.push_str(value.map_or("", String::as_str));
        }
        rest = after;
    }
    texts.iter_mut().for_each(|text| text.push_str(rest));
    Ok(texts)
}

/// Each of them so often, in their order.
fn spread<T: Clone>(all: &[T], times: usize) -> Vec<T> {
    let each = all.iter().flat_map(|it| std::iter::repeat_n(it, times));
    each.cloned().collect()
}

fn lookup(inner: &str, names: &Names<'_>, deny: bool) -> Result<Vec<String>, Unfillable> {
    let single = [
        ("name()", names.name),
        ("subject()", names.subject),
        ("account-name()", names.account_name),
        ("account-subject()", names.account_subject),
    ];
    let same = |&&(function, _): &&(&str, &str)| inner.eq_ignore_ascii_case(function);
    if let Some((_, value)) = single.iter().find(same) {
        return Ok(vec![(*value).to_owned()]);
    }
    let tagged = |function: &str| {
        let start = inner.get(..function.len())?;
        start.eq_ignore_ascii_case(function).then_some(())?;
        inner.get(function.len()..)?.strip_suffix(')')
    };
    let (tags, tag) = if let Some(tag) = tagged("tag(") {
        (names.tags, tag)
    } else if let Some(tag) = tagged("account-tag(") {
        (names.account_tags, tag)
    } else {
        return Err(Unfillable);
    };
    let prefix = format!("{}:", tag.to_lowercase());
    let found = tags.iter().filter_map(|it| it.strip_prefix(&prefix));
    let mut found: Vec<String> = found.map(str::to_owned).collect();
    if found.is_empty() {
        if deny {
            return Err(Unfillable);
        }
        found.push(" ".into()); // no subject has one
    }
    Ok(found)
}

/// What stands before the first `{{...}}`, in it, and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find("{{") {
        let start = from + at;
        let inside = text.get(start + 2..)?;
        let end = inside.find('}')?;
        if end > 0 && inside.get(end..)?.starts_with("}}") {
            return Some((
                text.get(..start)?,
                inside.get(..end)?,
                inside.get(end + 2..)?,
            ));
        }
        from = start + 2 + end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(tags: &'a [String]) -> Names<'a> {
        Names {
            name: "bob",
            subject: "UBOB",
            account_name: "acc",
            account_subject: "AACC",
            tags,
            account_tags: tags,
        }
    }

    #[track_caller]
    fn check(allow: &[&str], deny: &[&str], expected: Result<(&[&str], &[&str]), Unfillable>) {
        let tags = ["dept:a", "dept:b", "one:1", "bad:x y"].map(String::from);
        let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let mut template = UserLimits::default();
        template.permissions.publish = Lists {
            allow: own(allow),
            deny: own(deny),
        };
        let filled = fill(&template, &names(&tags)).map(|it| it.permissions.publish);
        let expected = expected.map(|(allow, deny)| Lists {
            allow: own(allow),
            deny: own(deny),
        });
        assert_eq!(filled, expected);
    }

    #[test]
    fn placeholders() {
        check(&["a.b"], &["c"], Ok((&["a.b"], &["c"])));
        check(
            &[
                "{{name()}}.{{ Subject() }}.x",
                "{{account-name()}}.{{account-subject()}}",
            ],
            &[],
            Ok((&["bob.UBOB.x", "acc.AACC"], &[])),
        );
        check(
            &["{{tag(dept)}}.{{tag(one)}}.{{account-tag(dept)}}"],
            &["{{tag(dept)}}.{{tag(dept)}}"],
            Ok((&["a.1.a", "a.1.b", "b.1.a", "b.1.b"], &["a.a", "b.b"])),
        );
    }

    #[test]
    fn what_is_not_there() {
        check(&["{{tag(none)}}.x", "y"], &[], Ok((&["y"], &[])));
        check(&["{{tag(none)}}.x"], &[], Ok((&[], &[">"])));
        check(&["{{tag(bad)}}"], &[], Ok((&[], &[">"])));
        check(&[], &["{{tag(none)}}.x"], Err(Unfillable));
        check(&[], &["{{tag(bad)}}"], Err(Unfillable));
        check(&["{{unknown()}}"], &[], Err(Unfillable));
        check(&["{{}}.x"], &[], Ok((&["{{}}.x"], &[])));
    }

    #[test]
    fn at_most_so_many() {
        let tags: Vec<String> = (0..65).map(|at| format!("t:{at}")).collect();
        let two = |list: &[&str]| {
            let mut template = UserLimits::default();
            template.permissions.publish.allow = list.iter().map(|it| (*it).to_owned()).collect();
            let filled = fill(&template, &names(&tags));
            filled.map(|it| it.permissions.publish.allow.len())
        };
        assert_eq!(two(&["{{tag(t)}}.x"]), Ok(65));
        assert_eq!(two(&["{{tag(t)}}.{{account-tag(t)}}"]), Err(Unfillable));
        let many: Vec<String> = (0..64).map(|at| format!("{{{{tag(t)}}}}.{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(two(&many), Err(Unfillable));
    }
}
