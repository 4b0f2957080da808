//! Models from the Hugging Face Hub, through `hf-hub`: into its cache, which other programs share,
//! and resumed where a download broke off.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Repo, RepoType};
use potluck_importer::{gguf_parts, judge};
use sha2::{Digest as _, Sha256};

/// The prefix of a model of the Hub, where a folder could be named instead.
pub(crate) const SCHEME: &str = "hf:";
/// The revision of a repository unless one is named.
const DEFAULT_REVISION: &str = "main";
/// Attempts after a broken connection, each from where the last one ended.
const RETRIES: usize = 3;
/// Files that every model must have.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Files that are fetched where the repository has them.
const OPTIONAL: [&str; 7] = [
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "README.md",
    // How an encoder makes one vector of its rows.
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];
/// What some repositories have in place of what is wanted.
const INSTEAD: [&str; 4] = [
    "tokenizer.model",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.safetensors",
];
/// Files that are named to choose from, at most.
const MAX_SHOWN: usize = 12;
/// The weights, where they are in one file.
const WHOLE: &str = "model.safetensors";
/// The list of files with weights, where they are in several.
const INDEX: &str = "model.safetensors.index.json";

/// `hf:owner/name[/file.gguf][@revision]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    owner: String,
    name: String,
    /// A GGUF file, in place of the repository's safetensors.
    file: Option<String>,
    revision: String,
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form = || {
            format!(
                "{text:?} is not of the form hf:owner/name, hf:owner/name@revision or \
                 hf:owner/name/file.gguf"
            )
        };
        let rest = text.strip_prefix(SCHEME).with_context(form)?;
        let (path, revision) = rest.split_once('@').unwrap_or((rest, DEFAULT_REVISION));
        let parts: Vec<&str> = path.splitn(3, '/').collect();
        let (owner, name, file) = match parts.as_slice() {
            [owner, name] => (*owner, *name, None),
            [owner, name, file] if is_gguf(Path::new(file)) => {
                (*owner, *name, Some((*file).to_owned()))
            }
            _ => bail!(form()),
        };
        let plain = |part: &str| {
            let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            !part.is_empty()
                && part.chars().all(letters)
                && part.split('/').all(|piece| !matches!(piece, "" | "." | ".."))
        };
        if ![owner, name, revision].into_iter().chain(file.as_deref()).all(plain) {
            bail!(form());
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            file,
            revision: revision.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, name, file, revision } = self;
        write!(f, "{SCHEME}{owner}/{name}")?;
        if let Some(file) = file {
            write!(f, "/{file}")?;
        }
        if revision == DEFAULT_REVISION { Ok(()) } else { write!(f, "@{revision}") }
    }
}

impl Reference {
    /// What the model is called unless somebody names it.
    pub(crate) fn model_name(&self) -> String {
        let stem = self.file.as_deref().and_then(|file| Path::new(file).file_stem());
        stem.map_or_else(|| self.name.clone(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Fetches what is missing, and gives the folder or the GGUF file. `HF_ENDPOINT`, `HF_HOME` and
    /// `HF_TOKEN` mean what they mean to the Hub's other programs.
    pub(crate) fn fetch(&self) -> anyhow::Result<PathBuf> {
        let mut builder = ApiBuilder::from_env();
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        self.fetch_with(builder)
    }

    fn fetch_with(&self, builder: ApiBuilder) -> anyhow::Result<PathBuf> {
        let api = builder.with_retries(RETRIES).build().context("could not set up the download")?;
        let Self { owner, name, revision, .. } = self;
        let repo = api.repo(Repo::with_revision(
            format!("{owner}/{name}"),
            RepoType::Model,
            revision.clone(),
        ));
        if let Some(file) = &self.file {
            let parts = gguf_parts(file);
            let paths = parts.iter().map(|part| self.get(&repo, part));
            let paths = paths.collect::<anyhow::Result<Vec<PathBuf>>>()?;
            return paths.into_iter().next().context("the download has no file");
        }
        let listed = repo.info().with_context(|| self.explained("list the files of"))?;
        let listed: BTreeSet<String> =
            listed.siblings.into_iter().map(|file| file.rfilename).collect();
        self.check_listed(&listed)?;
        let mut folder = None;
        for file in REQUIRED {
            folder = self.get(&repo, file)?.parent().map(Path::to_owned);
        }
        for file in OPTIONAL.iter().filter(|file| listed.contains(**file)) {
            self.get(&repo, file)?;
        }
        let folder = folder.context("the download has no folder")?;
        judge(&folder).with_context(|| {
            format!("{self} cannot be imported, and none of its weights were downloaded")
        })?;
        if listed.contains(WHOLE) {
            self.get(&repo, WHOLE)?;
        } else if listed.contains(INDEX) {
            for shard in shards(&self.get(&repo, INDEX)?)? {
                self.get(&repo, &shard)?;
            }
        }
        Ok(folder)
    }

    /// Whether a repository has what is wanted; if not, what it has instead.
    fn check_listed(&self, listed: &BTreeSet<String>) -> anyhow::Result<()> {
        let has = |file: &str| listed.contains(file);
        if REQUIRED.iter().all(|file| has(file)) && (has(WHOLE) || has(INDEX)) {
            return Ok(());
        }
        let Self { owner, name, .. } = self;
        let ggufs: Vec<String> = listed
            .iter()
            .filter(|file| is_gguf(Path::new(file)) && gguf_parts(file)[0] == **file)
            .take(MAX_SHOWN)
            .map(|file| format!("  potluck-server model add {SCHEME}{owner}/{name}/{file}"))
            .collect();
        if !ggufs.is_empty() {
            bail!("{self} has GGUF files; name one of them:\n{}", ggufs.join("\n"));
        }
        let wanted =
            "config.json, tokenizer.json and model.safetensors (or a GGUF file) are wanted";
        if has("adapter_config.json") && !has("config.json") {
            bail!("{self} is an adapter for another model, and cannot be imported alone; {wanted}");
        }
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|file| !has(file)).collect();
        let instead: Vec<&str> = INSTEAD.into_iter().filter(|file| has(file)).collect();
        let what = if missing.is_empty() { WHOLE.to_owned() } else { missing.join(" and ") };
        let instead = if instead.is_empty() {
            String::new()
        } else {
            format!(", but {}", instead.join(" and "))
        };
        bail!("{self} has no {what}{instead}; {wanted}");
    }

    /// Fetches a file, if it is not here, and holds it against the hash that the Hub names it by.
    fn get(&self, repo: &ApiRepo, file: &str) -> anyhow::Result<PathBuf> {
        let path =
            repo.get(file).with_context(|| self.explained(&format!("download {file} of")))?;
        // The cache keeps large files by their SHA-256; small ones have another name, and are read whole.
        let blob = std::fs::canonicalize(&path)?;
        let named = blob.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_hash =
            |name: &String| name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit());
        if let Some(expected) = named.filter(is_hash) {
            let got = sha256(&blob)?;
            if !got.eq_ignore_ascii_case(&expected) {
                std::fs::remove_file(&blob)?;
                bail!(
                    "what was downloaded as {file} of {self} is not what the Hub says it is, and was \
                     removed; run the command again"
                );
            }
        }
        Ok(path)
    }

    fn explained(&self, what: &str) -> String {
        format!(
            "could not {what} {self}: does it exist, and if its owner asks for consent to a \
             licence, is HF_TOKEN set? Run the command again to go on where it stopped"
        )
    }
}

/// Bytes of a file that are read and hashed at once.
const READ_BYTES: usize = 1 << 20;

/// A file's SHA-256, in hexadecimal.
fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            read => hasher.update(&bytes[..read]),
        }
    }
    Ok(HEXLOWER.encode(&hasher.finalize()))
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// The names in a list of shards; the importer checks the list again, with every tensor in it.
fn shards(index: &Path) -> anyhow::Result<BTreeSet<String>> {
    let bytes =
        std::fs::read(index).with_context(|| format!("could not read {}", index.display()))?;
    let index: serde_json::Value =
        serde_json::from_slice(&bytes).context("the list of shards is not JSON")?;
    let map = index["weight_map"].as_object().context("the list of shards has no weight_map")?;
    let plain = |name: &&str| name.ends_with(".safetensors") && !name.contains(['/', '\\']);
    map.values()
        .map(|name| {
            name.as_str()
                .filter(plain)
                .map(str::to_owned)
                .with_context(|| format!("{name} is not a shard's name"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use hf_hub::Cache;

    use super::*;

    #[test]
    fn references_are_read_and_written() {
        for text in ["hf:a/b", "hf:a/b@v1.0", "hf:a/b/c.gguf", "hf:a/b/deep/c.GGUF@1234"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("hf:a/b@main".parse::<Reference>().unwrap().to_string(), "hf:a/b");
        assert_eq!("hf:a/b".parse::<Reference>().unwrap().model_name(), "b");
        assert_eq!("hf:a/b/x/c.gguf".parse::<Reference>().unwrap().model_name(), "c");
        for broken in [
            "a/b",
            "hf:",
            "hf:a",
            "hf:a/",
            "hf:a/b@",
            "hf:../b",
            "hf:a/b/c.txt",
            "hf:a/b/../c.gguf",
            "hf:a b/c",
        ] {
            assert!(
                broken.parse::<Reference>().unwrap_err().to_string().contains("hf:owner/name"),
                "{broken}"
            );
        }
    }

    /// A Hub of one repository, on this machine, that breaks the first connection for `breaks` off
    /// in the middle.
    struct Hub {
        endpoint: String,
        /// First byte and name of every request for a file's contents.
        asked: Arc<Mutex<Vec<(usize, String)>>>,
    }

    impl Hub {
        fn new(files: &[(&str, Vec<u8>)], breaks: Option<&'static str>) -> Self {
            Self::naming(files, breaks, Names::Right)
        }

        fn naming(files: &[(&str, Vec<u8>)], breaks: Option<&'static str>, names: Names) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let files: HashMap<String, Vec<u8>> =
                files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
            let asked = Arc::new(Mutex::new(Vec::new()));
            let requests = Arc::clone(&asked);
            std::thread::spawn(move || {
                let mut breaks = breaks;
                for stream in listener.incoming() {
                    answer(&stream.unwrap(), &files, &requests, &mut breaks, &names);
                }
            });
            Self { endpoint, asked }
        }

        fn fetch(&self, reference: &str, cache: &Path) -> anyhow::Result<PathBuf> {
            let builder = ApiBuilder::from_cache(Cache::new(cache.to_owned()))
                .with_endpoint(self.endpoint.clone());
            reference.parse::<Reference>()?.fetch_with(builder.with_progress(false))
        }

        fn asked(&self, file: &str) -> Vec<usize> {
            self.asked
                .lock()
                .unwrap()
                .iter()
                .filter(|(_, name)| name == file)
                .map(|(start, _)| *start)
                .collect()
        }
    }

    /// Whether the Hub names files by their hashes, or by others.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Names {
        Right,
        Wrong,
    }

    fn answer(
        mut stream: &TcpStream,
        files: &HashMap<String, Vec<u8>>,
        asked: &Mutex<Vec<(usize, String)>>,
        breaks: &mut Option<&'static str>,
        names: &Names,
    ) {
        let mut lines = BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        let path = lines
            .next()
            .and_then(|line| line.split(' ').nth(1).map(str::to_owned))
            .unwrap_or_default();
        let range = lines.find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned)
        });
        let common = "x-repo-commit: 0123456789abcdef\r\nconnection: close";
        if path.starts_with("/api/models/owner/name") {
            let siblings: Vec<String> =
                files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
            let body =
                format!(r#"{{"sha":"0123456789abcdef","siblings":[{}]}}"#, siblings.join(","));
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{common}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            return;
        }
        let name = path.rsplit("/resolve/main/").next().unwrap_or_default().to_owned();
        let Some(bytes) = files.get(&name) else {
            write!(stream, "HTTP/1.1 404 Not Found\r\n{common}\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            return;
        };
        let (start, end) =
            range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
        let start: usize = start.parse().unwrap();
        let end = end.parse().map_or(bytes.len(), |end: usize| end + 1).min(bytes.len());
        let hashed = if *names == Names::Wrong { &bytes[..1] } else { &bytes[..] };
        let etag = HEXLOWER.encode(&Sha256::digest(hashed));
        let span =
            format!("content-range: bytes {start}-{}/{}", end.saturating_sub(1), bytes.len());
        let head = format!("etag: \"{etag}\"\r\n{span}\r\ncontent-length: {}", end - start);
        write!(stream, "HTTP/1.1 206 Partial Content\r\n{common}\r\n{head}\r\n\r\n").unwrap();
        // The first byte alone is how a size is asked for.
        let contents = end != 1;
        if contents {
            asked.lock().unwrap().push((start, name.clone()));
        }
        let broken = contents && *breaks == Some(name.as_str());
        let sent = if broken { &bytes[start..end / 2] } else { &bytes[start..end] };
        if broken {
            *breaks = None;
        }
        // The other side may have gone.
        let _ = stream.write_all(sent);
    }

    /// A file of the built-in model.
    fn own(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/potluck-tiny");
        std::fs::read(folder.join(name)).unwrap()
    }

    fn files() -> Vec<(&'static str, Vec<u8>)> {
        let index = br#"{"weight_map":
            {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
        vec![
            ("config.json", own("config.json")),
            ("tokenizer.json", own("tokenizer.json")),
            ("README.md", b"license: mit".to_vec()),
            (INDEX, index.to_vec()),
            ("one.safetensors", (0..100_000_u32).flat_map(u32::to_le_bytes).collect()),
            ("two.safetensors", vec![2; 5000]),
            ("pytorch_model.bin", vec![3; 5000]),
        ]
    }

    #[test]
    fn all_that_a_model_needs_is_fetched_once_and_nothing_else() {
        let (hub, cache) = (Hub::new(&files(), None), tempfile::tempdir().unwrap());
        let folder = hub.fetch("hf:owner/name", cache.path()).unwrap();
        for (name, bytes) in files().into_iter().filter(|(name, _)| *name != "pytorch_model.bin") {
            assert!(std::fs::read(folder.join(name)).unwrap() == bytes, "{name}");
        }
        assert!(!folder.join("pytorch_model.bin").exists());
        let asked = hub.asked.lock().unwrap().len();
        assert_eq!(hub.fetch("hf:owner/name", cache.path()).unwrap(), folder);
        assert_eq!(hub.asked.lock().unwrap().len(), asked, "what is there is not fetched again");
    }

    #[test]
    fn a_download_goes_on_where_it_broke_off() {
        let (hub, cache) =
            (Hub::new(&files(), Some("one.safetensors")), tempfile::tempdir().unwrap());
        let folder = hub.fetch("hf:owner/name", cache.path()).unwrap();
        assert!(std::fs::read(folder.join("one.safetensors")).unwrap() == files()[4].1);
        let asked = hub.asked("one.safetensors");
        assert!(asked.len() == 2 && asked[0] == 0 && asked[1] > 0, "{asked:?}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let cache = tempfile::tempdir().unwrap();
        let refused = |hub: &Hub, reference: &str| {
            format!("{:#}", hub.fetch(reference, cache.path()).unwrap_err())
        };
        let mut some = files();
        some.retain(|(name, _)| *name != "config.json" && *name != INDEX);
        for (more, named) in [
            (vec![], "no config.json, but pytorch_model.bin; config.json, tokenizer.json"),
            (vec!["adapter_config.json"], "is an adapter for another model"),
            (
                vec!["b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "a.gguf"],
                "name one of them:\n  potluck-server model add hf:owner/name/a.gguf\n  \
                 potluck-server model add hf:owner/name/b-00001-of-00002.gguf",
            ),
        ] {
            let more = more.into_iter().map(|name| (name, vec![0; 10]));
            let files: Vec<_> = some.iter().cloned().chain(more).collect();
            let words = refused(&Hub::new(&files, None), "hf:owner/name");
            assert!(words.contains(named), "{words}");
            assert!(!words.contains("licence"), "{words}");
        }
        let mut only_gguf: Vec<_> = files().into_iter().take(3).collect();
        only_gguf.push(("small.gguf", vec![0; 10]));
        let hub = Hub::new(&only_gguf, None);
        assert_eq!(
            std::fs::read(hub.fetch("hf:owner/name/small.gguf", cache.path()).unwrap()).unwrap(),
            [0; 10]
        );
    }

    #[test]
    fn all_parts_of_a_file_are_fetched() {
        let names = ["x/a-00001-of-00002.gguf", "x/a-00002-of-00002.gguf"];
        let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes().to_vec())).collect();
        let (hub, cache) = (Hub::new(&files, None), tempfile::tempdir().unwrap());
        let first = hub.fetch(&format!("hf:owner/name/{}", names[1]), cache.path()).unwrap();
        assert!(first.ends_with(names[0]), "{}", first.display());
        assert_eq!(
            std::fs::read(first.with_file_name("a-00002-of-00002.gguf")).unwrap(),
            files[1].1
        );
    }

    #[test]
    fn what_cannot_be_imported_is_refused_before_its_weights() {
        let mut files = files();
        let mut config: serde_json::Value = serde_json::from_slice(&files[0].1).unwrap();
        config["architectures"] = serde_json::json!(["GemmaForCausalLM"]);
        files[0].1 = config.to_string().into_bytes();
        let (hub, cache) = (Hub::new(&files, None), tempfile::tempdir().unwrap());
        let words = format!("{:#}", hub.fetch("hf:owner/name", cache.path()).unwrap_err());
        assert!(
            words.contains("GemmaForCausalLM") && words.contains("none of its weights"),
            "{words}"
        );
        for weights in [INDEX, "one.safetensors", "two.safetensors"] {
            assert!(hub.asked(weights).is_empty(), "{weights} was asked for");
        }
    }

    #[test]
    fn what_is_not_what_the_hub_says_is_not_kept() {
        let hub = Hub::naming(&files(), None, Names::Wrong);
        let cache = tempfile::tempdir().unwrap();
        let words = format!("{:#}", hub.fetch("hf:owner/name", cache.path()).unwrap_err());
        assert!(words.contains("is not what the Hub says it is"), "{words}");
    }
}
