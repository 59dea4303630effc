//! Who we say we are: a token and the key that signs.

use nkeys::KeyPair;

use crate::options::RemoteOptions;

/// The token and the key that signs, as far as there are any. Read for each connection: files
/// change.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn read(options: &RemoteOptions) -> Result<(String, Option<KeyPair>), String> {
    if let Some(path) = &options.credentials {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut blocks = credentials_blocks(&text);
        let (Some(jwt), Some(seed)) = (blocks.next(), blocks.next()) else {
            return Err("Credentials file malformed".into());
        };
        let key = KeyPair::from_seed(seed);
        let key = key.map_err(|_| "Credentials file has malformed seed")?;
        return Ok((jwt.to_owned(), Some(key)));
    }
    let Some(seed) = &options.nkey else {
        return Ok((String::new(), None));
    };
    let key = KeyPair::from_seed(seed).map_err(|_| "Remote nkey has malformed seed")?;
    Ok((String::new(), Some(key)))
}

/// What stands between the dashed lines of a credentials file.
fn credentials_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        lines.find(|line| !line.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_files() {
        let text = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\n\
            -----BEGIN USER NKEY SEED-----\nSU\n------END USER NKEY SEED------\n";
        assert_eq!(credentials_blocks(text).collect::<Vec<_>>(), ["abc", "SU"]);
    }
}
