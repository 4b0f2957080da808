//! The head of a GGUF file: its metadata, and the table of its tensors.

use super::metadata::{Metadata, Value};
use crate::error::ImportError;
use crate::source::file::WeightsFile;
use crate::source::tensors::{MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_TENSORS, tensor_error};

const MAGIC: &[u8] = b"GGUF";
/// Entries of metadata at most; real files have some dozens.
const MAX_ENTRIES: u64 = 4096;
/// Bytes of metadata and table at most: the largest vocabularies take about 10 MB.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Bytes of a text at most; the longest are chat templates.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Bytes that are read at once while the header is parsed.
const READ_AHEAD: u64 = 1 << 20;

/// A tensor as the file's table has it.
pub(super) struct Listed {
    pub(super) name: String,
    /// Innermost first.
    pub(super) sizes: Vec<u64>,
    pub(super) kind: u32,
    /// From the start of the data.
    pub(super) offset: u64,
}

/// Metadata, table, and the length of both.
pub(super) fn header(file: &WeightsFile) -> Result<(Metadata, Vec<Listed>, u64), ImportError> {
    let mut bytes = Bytes { file, at: 0, start: 0, buffer: Vec::new() };
    if bytes.take(4)? != MAGIC {
        return Err(file.broken("this is no GGUF file"));
    }
    let version = bytes.u32()?;
    if (2..=3).contains(&version.swap_bytes()) {
        return Err(file.broken("its numbers are big-endian; little-endian GGUF files are read"));
    }
    if !(2..=3).contains(&version) {
        return Err(file.broken(&format!("GGUF version {version}; 2 and 3 are read")));
    }
    let (tensors, entries) = (bytes.u64()?, bytes.u64()?);
    if tensors > MAX_TENSORS as u64 || entries > MAX_ENTRIES {
        let limits = format!("at most {MAX_TENSORS} and {MAX_ENTRIES} are read");
        return Err(
            file.broken(&format!("{tensors} tensors and {entries} entries of metadata, {limits}"))
        );
    }
    let mut metadata = Metadata::default();
    for _ in 0..entries {
        let key = bytes.text(MAX_NAME_BYTES as u64)?;
        let kind = bytes.u32()?;
        let value = bytes.value(kind)?;
        if !metadata.add(key.clone(), value) {
            return Err(file.broken(&format!("{key:?} is there twice")));
        }
    }
    let mut listed = Vec::new();
    for _ in 0..tensors {
        let name = bytes.text(MAX_NAME_BYTES as u64)?;
        let dimensions = bytes.u32()?;
        if dimensions as usize > MAX_DIMENSIONS {
            return Err(tensor_error(
                &name,
                &format!("{dimensions} dimensions, at most {MAX_DIMENSIONS} are read"),
            ));
        }
        let sizes = (0..dimensions).map(|_| bytes.u64()).collect::<Result<Vec<_>, _>>()?;
        listed.push(Listed { name, sizes, kind: bytes.u32()?, offset: bytes.u64()? });
    }
    Ok((metadata, listed, bytes.at))
}

/// A place in the header.
struct Bytes<'a> {
    file: &'a WeightsFile,
    at: u64,
    /// Where `buffer` starts.
    start: u64,
    buffer: Vec<u8>,
}

impl Bytes<'_> {
    fn take(&mut self, length: u64) -> Result<&[u8], ImportError> {
        let end = self.at.saturating_add(length);
        if end > self.file.size_bytes() || end > MAX_HEADER_BYTES {
            let (at, size) = (self.at, self.file.size_bytes());
            let limit =
                format!("the file has {size}, and a header of at most {MAX_HEADER_BYTES} is read");
            return Err(self
                .file
                .broken(&format!("the header wants {length} bytes at {at}; {limit}")));
        }
        if end > self.start + self.buffer.len() as u64 {
            let length = length.max(READ_AHEAD).min(self.file.size_bytes() - self.at);
            self.buffer =
                self.file.read_at(self.at, usize::try_from(length).unwrap_or(usize::MAX))?;
            self.start = self.at;
        }
        let from = usize::try_from(self.at - self.start).unwrap_or(usize::MAX);
        let to = usize::try_from(end - self.start).unwrap_or(usize::MAX);
        self.at = end;
        Ok(&self.buffer[from..to])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, ImportError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ImportError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, limit: u64) -> Result<String, ImportError> {
        let length = self.u64()?;
        if length > limit {
            return Err(self
                .file
                .broken(&format!("a text of {length} bytes, at most {limit} are read")));
        }
        let at = self.at;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes)
            .map_err(|_| self.file.broken(&format!("the text at {at} is not UTF-8")))
    }

    fn value(&mut self, kind: u32) -> Result<Value, ImportError> {
        if kind != 9 {
            return self.scalar(kind);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        if kind == 8 {
            let texts = (0..count).map(|_| self.text(MAX_TEXT_BYTES)).collect::<Result<_, _>>()?;
            return Ok(Value::Texts(texts));
        }
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(match self.scalar(kind)? {
                Value::Integer(value) => value as f64,
                Value::Float(value) => value,
                Value::Bool(value) => f64::from(u8::from(value)),
                _ => return Err(self.file.broken("an array within an array")),
            });
        }
        Ok(Value::Numbers(numbers))
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, ImportError> {
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text(MAX_TEXT_BYTES)?),
            10 => Value::Integer(i64::try_from(self.u64()?).unwrap_or(i64::MAX)),
            11 => Value::Integer(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(self.file.broken(&format!("metadata of the unknown kind {other}")));
            }
        })
    }
}
