//! How a kernel's text is made: the parts of the prelude that its first line imports, and then the
//! file itself.
//!
//! ```text
//! kernels/rope.wgsl            // #import forward, model, rescale, …
//! kernels/prelude/rescale.wgsl fn rescale(…) …
//! ```
//! Every part is compiled in once, and joined with the files that ask for it when a pipeline is
//! made. What the tests validate is this joined text. It does not know which kernels there are.

/// A file under `src/kernels`, without its comments.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The file's name.
    pub file: &'static str,
    /// Names of the parts of the prelude that it imports, as its first line lists them.
    pub imports: &'static str,
    /// The file's own text.
    pub text: &'static str,
}

impl Source {
    /// Complete WGSL: the imported parts of the prelude in the order of [`PRELUDE`], then the file.
    #[must_use]
    pub fn join(&self) -> String {
        let parts = PRELUDE.iter().filter(|(name, _)| self.imports(name)).map(|(_, text)| *text);
        parts.chain([self.text]).collect()
    }

    /// Whether it asks for this part of the prelude.
    #[must_use]
    pub fn imports(&self, part: &str) -> bool {
        self.imports.split(", ").any(|name| name == part)
    }
}

/// A file's text without comments and indentation, which a visitor would download for nothing (5 KB
/// with Brotli).
macro_rules! bare_text {
    ($file:expr) => {{
        const TEXT: &str = include_str!($file);
        const LENGTH: usize = $crate::gpu::source::bare(TEXT, &mut [0; TEXT.len()]);
        const BARE: [u8; LENGTH] = {
            let mut bytes = [0; LENGTH];
            $crate::gpu::source::bare(TEXT, &mut bytes);
            bytes
        };
        match core::str::from_utf8(&BARE) {
            Ok(text) => text,
            Err(_) => panic!("comments are cut at whole characters"),
        }
    }};
}

/// The [`Source`] of a file of `src/kernels`.
macro_rules! wgsl {
    ($file:literal) => {
        $crate::gpu::source::Source {
            file: $file,
            imports: $crate::gpu::source::imports(include_str!(concat!("../kernels/", $file))),
            text: $crate::gpu::source::bare_text!(concat!("../kernels/", $file)),
        }
    };
}
pub(super) use {bare_text, wgsl};

macro_rules! prelude {
    ($($name:literal)+) => {
        /// Name and text of every part of the prelude. WGSL may name what comes later, so their
        /// order is free.
        pub const PRELUDE: &[(&str, &str)] =
            &[$(($name, bare_text!(concat!("../kernels/prelude/", $name, ".wgsl")))),+];
    };
}

prelude! {
    "bias" "eights" "exp2" "exp2_neg" "fit" "forward" "head_outputs" "heads" "linear" "model" "mul_shift" "norm"
    "ordered" "pairs" "projections" "rescale" "rsqrt" "scoring" "store_quad" "wide"
}

/// What the first line of a file lists.
pub(super) const fn imports(text: &'static str) -> &'static str {
    const IMPORT: &[u8] = b"// #import ";
    let bytes = text.as_bytes();
    let mut end = 0;
    while bytes[end] != b'\n' {
        assert!(
            end >= IMPORT.len() || bytes[end] == IMPORT[end],
            "the first line of a kernel lists what it imports"
        );
        end += 1;
    }
    text.split_at(end).0.split_at(IMPORT.len()).1
}

/// Writes the text without comments and indentation, line for line, and gives its length. WGSL has
/// no strings that `//` could be in.
pub(super) const fn bare(text: &str, to: &mut [u8]) -> usize {
    let text = text.as_bytes();
    let (mut at, mut length) = (0, 0);
    let (mut line_begins, mut in_comment) = (true, false);
    while at < text.len() {
        if text[at] == b'\n' {
            (line_begins, in_comment) = (true, false);
        } else {
            line_begins = line_begins && text[at] == b' ';
            in_comment =
                in_comment || (text[at] == b'/' && at + 1 < text.len() && text[at + 1] == b'/');
        }
        if text[at] == b'\n' || !(line_begins || in_comment) {
            to[length] = text[at];
            length += 1;
        }
        at += 1;
    }
    length
}

/// A kernel's text with every maximum and sum of a workgroup found within subgroups first, of which
/// one invocation speaks. A browser wants to be told; natively the directive is not known. Only for
/// kernels whose reductions all invocations reach.
#[must_use]
pub fn with_subgroups(source: &str, directive: bool) -> String {
    let mut text = String::from(if directive { "enable subgroups;\n" } else { "" });
    for (number, line) in source.lines().enumerate() {
        text.push_str(within_subgroups(number, line).as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

/// The line through a subgroup's reduction, if it is a reduction of a workgroup.
fn within_subgroups(number: usize, line: &str) -> Option<String> {
    let reductions = [("atomicMax", "subgroupMax"), ("atomicAdd", "subgroupAdd")];
    reductions.into_iter().find_map(|(whole, part)| {
        let call = line.strip_prefix(whole)?.strip_prefix("(&")?.strip_suffix(");")?;
        let (to, value) = call.split_once(", ")?;
        Some(format!(
            "let part{number} = {part}({value}); \
             if (subgroupBroadcastFirst(lane) == lane) {{ {whole}(&{to}, part{number}); }}"
        ))
    })
}
