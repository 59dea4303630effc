use super::*;
use crate::accounts::naive;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[track_caller]
fn check(source: &str, destination: &str, cases: &[(&str, &str)]) {
    let transform = Transform::new(source, destination).expect("valid");
    for (subject, expected) in cases {
        let mut out = Vec::new();
        transform.apply(subject.as_bytes(), &mut out, || u64::MAX);
        assert_eq!(String::from_utf8_lossy(&out), *expected, "{subject}");
    }
}

#[track_caller]
fn refused(source: &str, destination: &str, expected: &str) {
    let error = Transform::new(source, destination).expect_err("refused");
    assert_eq!(error.to_string(), expected, "{destination}");
}

#[test]
fn auth_044_wildcards() {
    check("a.*.*", "b.$2.$1.$2", &[("a.x.y", "b.y.x.y")]);
    check(
        "a.*.*",
        "b.{{wildcard(2)}}.{{ Wildcard( 1 ) }}",
        &[("a.x.y", "b.y.x")],
    );
    check("a.>", "b.c.>", &[("a.x.y", "b.c.x.y"), ("a.x", "b.c.x")]);
    check("a.*.>", "$1.>", &[("a.x.y.z", "x.y.z")]);
    check("a", "b.c", &[("a", "b.c")]);
    check("*", "$x.$.{{}}.$0", &[("t", "$x.$.{{}}.t")]);
}

#[test]
fn auth_045_partitions() {
    check("*", "{{partition(0,1)}}", &[("x", "0")]);
    check(
        "*.*",
        "{{partition(5,1,2)}}",
        &[("a.b", "1"), ("ab.c", "1")],
    );
    let whole = |subject: &[u8]| fnv1a(FNV_START, subject) % 7;
    for subject in ["a.b", "c.ddd"] {
        let expected = whole(subject.as_bytes()).to_string();
        check("*.*", "{{Partition( 7 )}}", &[(subject, &expected)]);
    }
    assert_eq!(fnv1a(FNV_START, b"foobar"), 0xbf9c_f968, "by the book");
}

#[test]
fn auth_046_cuts() {
    check(
        "*",
        "{{SplitFromLeft(1,3)}}",
        &[("12345", "123.45"), ("123", "123")],
    );
    check(
        "*",
        "{{splitfromright(1,2)}}",
        &[("12345", "123.45"), ("12", "12")],
    );
    check(
        "*",
        "{{SliceFromLeft(1,2)}}",
        &[("12345", "12.34.5"), ("1234", "12.34")],
    );
    check(
        "*",
        "{{slicefromright(1,2)}}",
        &[("12345", "1.23.45"), ("1234", "12.34")],
    );
    check("*", "{{left(1,2)}}", &[("12345", "12"), ("1", "1")]);
    check("*", "{{Right(1,2)}}", &[("12345", "45"), ("1", "1")]);
    check("*", "{{left(1,0)}}.{{left(1,-1)}}", &[("123", "123.123")]);
}

#[test]
fn auth_047_pieces() {
    check(
        "*",
        "{{split(1,-)}}",
        &[
            ("a-b-c", "a.b.c"),
            ("-a-b-", "a.b"),
            ("a--b", "a.b"),
            ("abc", "abc"),
            ("--a", ".a"), // as in stock
            ("-", ""),
        ],
    );
    check("*", "{{random(3)}}", &[("x", "1")]); // of 2^31 - 1
    check("*", "{{random(0)}}", &[("x", "0")]);
}

#[test]
fn auth_048_errors() {
    let prefix = "invalid mapping destination: ";
    for (destination, expected) in [
        ("{{foo(1)}}", "unknown function in {{foo(1)}}"),
        ("{{wildcard 1}}", "unknown function in {{wildcard 1}}"),
        ("{{SPLIT(1,-)}}", "unknown function in {{SPLIT(1,-)}}"),
        ("$2", "wildcard index out of range in $2: [2]"),
        (
            "{{wildcard(2)}}",
            "wildcard index out of range in {{wildcard(2)}}: [2]",
        ),
        (
            "{{wildcard()}}",
            "not enough arguments passed to the function in {{wildcard()}}",
        ),
        (
            "{{wildcard(1,2)}}",
            "too many arguments passed to the function in {{wildcard(1,2)}}",
        ),
        (
            "{{wildcard(x)}}",
            "function argument is invalid or in the wrong format in {{wildcard(x)}}",
        ),
        (
            "{{partition(99999999999)}}",
            "function argument is invalid or in the wrong format in {{partition(99999999999)}}",
        ),
    ] {
        refused("a.*", destination, &format!("{prefix}{expected}"));
    }
    refused(
        "a",
        "$1",
        &format!("{prefix}wildcard index out of range in $1"),
    );
    for (source, destination) in [("a.*", "b.*"), ("a.>", "b"), ("a", "b.>"), ("a", "b..c")] {
        refused(source, destination, "invalid subject");
    }
    let strict = |destination| Transform::strict("a.*.*", destination).expect_err("refused");
    assert_eq!(
        strict("{{left(1,2)}}").to_string(),
        format!(
            "{prefix}the only mapping function allowed for import transforms is {{{{Wildcard()}}}} \
             in {{{{left(1,2)}}}}"
        )
    );
    let unused = strict("b.$1").to_string();
    assert_eq!(
        unused,
        format!("{prefix}not using all of the token wildcard(s) in b.$1")
    );
}

#[test]
fn numbers_come_and_go() {
    assert_eq!(numbered("a.*.b.*.>"), "a.$1.b.$2.>");
    let (pattern, placeholders) = unnumbered("a.$2.{{wildcard(1)}}.$x.{{left(1,2)}}");
    assert_eq!(pattern, "a.*.*.$x.{{left(1,2)}}");
    assert_eq!(placeholders, ["$2", "{{wildcard(1)}}"]);
}

/// Every function with arguments of all kinds, on tokens of all kinds, against the naive twin.
#[test]
fn transforms_agree_with_the_naive_twin() {
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut below = |n: u64| dice.next_u64() % n;
    let alphabet = ["a", "b", "-", "_", "é", "12"];
    for round in 0..20_000 {
        let wildcards = 1 + below(3) as usize;
        let full = below(3) == 0;
        let mut source = vec!["s".to_owned()];
        source.extend((0..wildcards).map(|_| "*".to_owned()));
        let mut subject = vec!["s".to_owned()];
        for _ in 0..wildcards + 2 * usize::from(full) {
            let len = 1 + below(6);
            subject.push((0..len).map(|_| alphabet[below(6) as usize]).collect());
        }
        let mut steps = Vec::new();
        for _ in 0..1 + below(4) {
            let (index, size) = (1 + below(wildcards as u64), below(5));
            steps.push(match below(10) {
                0 => "lit".to_owned(),
                1 => format!("${index}"),
                2 => format!("{{{{partition({size},{index})}}}}"),
                3 => format!("{{{{splitFromLeft({index},{size})}}}}"),
                4 => format!("{{{{splitFromRight({index}, {size})}}}}"),
                5 => format!("{{{{sliceFromLeft({index},{size})}}}}"),
                6 => format!("{{{{sliceFromRight({index},{size})}}}}"),
                7 => format!(
                    "{{{{split({index},{})}}}}",
                    ["-", "_", "ab"][below(3) as usize]
                ),
                8 => format!("{{{{left({index},{size})}}}}"),
                _ => format!("{{{{right({index},{size})}}}}"),
            });
        }
        if full {
            source.push(">".to_owned());
            steps.push(">".to_owned());
        }
        let (source, subject, destination) = (source.join("."), subject.join("."), steps.join("."));
        let transform = Transform::new(&source, &destination).expect("valid");
        let mut out = Vec::new();
        transform.apply(subject.as_bytes(), &mut out, || 0);
        let expected = naive::transform(&source, &destination, subject.as_bytes());
        assert_eq!(
            out.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{round}: {subject} by {source} -> {destination}"
        );
    }
}
