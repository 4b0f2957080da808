//! Where every tensor lies, by its Hugging Face name, and its rows as `f32`.
//!
//! Both readers fill this table once, with every length, offset and product checked, so that what
//! is asked for later can only be missing, of another shape, or hold numbers that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::element::Element;
use super::file::WeightsFile;
use crate::error::ImportError;

/// Tensors of a model at most: the deepest model's, four times over.
pub(super) const MAX_TENSORS: usize = 65_536;
/// Bytes of a tensor's name at most.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// Dimensions at most; matrices have two.
pub(super) const MAX_DIMENSIONS: usize = 4;

/// All tensors of a model.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    files: Vec<WeightsFile>,
    stored: BTreeMap<String, Stored>,
    /// Names of tensors that hold nothing, which nobody can use.
    empty: BTreeSet<String>,
    read_bytes: AtomicU64,
}

/// One tensor, checked: its bytes are within its file.
#[derive(Debug)]
pub(super) struct Stored {
    /// Which of the files.
    pub(super) file: usize,
    /// Of its first byte in the file.
    pub(super) offset: u64,
    /// Outermost first.
    pub(super) shape: Vec<usize>,
    /// How its numbers are stored.
    pub(super) element: Element,
    /// Heads whose rows alternate between the two halves, as llama.cpp stores them for its kind of
    /// rotation.
    pub(super) interleaved_heads: Option<usize>,
    /// Where its numbers are, if not one behind the other.
    pub(super) among: Option<Among>,
    /// Where the powers of two of its blocks are, a byte each, if not in them.
    pub(super) scales: Option<Scales>,
}

/// A matrix, or a vector, whose numbers lie among others of the same tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Among {
    /// Its first number.
    pub(super) first: usize,
    /// Numbers from one of its rows to the next.
    pub(super) row_stride: usize,
    /// Numbers from one of its columns to the next.
    pub(super) column_stride: usize,
}

/// Powers of two apart from what they scale: the first byte's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    file: usize,
    offset: u64,
}

/// Of a byte that is a power of two.
const SCALE_BIAS: i32 = 127;

impl Stored {
    /// Its length; none if it is too long to say, or its rows are no whole blocks.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let values =
            self.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
        let in_row = self.shape.last().copied().unwrap_or(1);
        if !in_row.is_multiple_of(self.element.block()) {
            return None;
        }
        Some(self.element.bytes_of(values)? as u64)
    }
}

impl Tensors {
    pub(super) fn new(files: Vec<WeightsFile>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Adds a tensor whose place has been checked.
    pub(super) fn add(&mut self, name: String, stored: Stored) -> Result<(), ImportError> {
        if self.stored.len() >= MAX_TENSORS {
            return Err(ImportError::Weights(format!("more than {MAX_TENSORS} tensors")));
        }
        // Such as a billion rows of nothing, which take no room in the file and no end to read.
        if stored.shape.contains(&0) {
            self.empty.insert(name);
            return Ok(());
        }
        match self.stored.insert(name.clone(), stored) {
            None => Ok(()),
            Some(_) => Err(tensor_error(&name, "is there twice")),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.stored.contains_key(name)
    }

    /// Gives every tensor the name that a whole model's file has for it, where the file was written from
    /// the inner model alone: `layers.0…` becomes `model.layers.0…`.
    pub(super) fn with_whole_names(mut self) -> Self {
        if self.has("embed_tokens.weight") && !self.stored.keys().any(|it| it.starts_with("model."))
        {
            let named = std::mem::take(&mut self.stored).into_iter().map(|(name, stored)| {
                let is_outer = name.starts_with("lm_head.");
                (if is_outer { name } else { format!("model.{name}") }, stored)
            });
            self.stored = named.collect();
        }
        self
    }

    /// Gives tensors the names that `renamed` has for them.
    pub(crate) fn rename(
        &mut self,
        renamed: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ImportError> {
        for (name, stored) in std::mem::take(&mut self.stored) {
            let name = renamed(&name).unwrap_or(name);
            self.add(name, stored)?;
        }
        Ok(())
    }

    /// Cuts a tensor, if it is there, into others: each is some of its rows, in order.
    pub(crate) fn split(
        &mut self,
        name: &str,
        parts: &[(String, usize)],
    ) -> Result<(), ImportError> {
        let Some(whole) = self.stored.remove(name) else { return Ok(()) };
        let all = whole.shape.first().copied().unwrap_or(0);
        let wanted = parts.iter().map(|(_, rows)| *rows).fold(0, usize::saturating_add);
        if wanted != all || whole.interleaved_heads.is_some() {
            return Err(tensor_error(name, &format!("{all} rows, expected {wanted}")));
        }
        let mut offset = whole.offset;
        for (part, rows) in parts {
            let shape: Vec<usize> =
                std::iter::once(*rows).chain(whole.shape.iter().skip(1).copied()).collect();
            let stored = Stored { shape, offset, ..whole };
            let cut = || tensor_error(name, "is cut within a block");
            offset += stored.size_bytes().ok_or_else(cut)?;
            self.add(part.clone(), stored)?;
        }
        Ok(())
    }

    /// Cuts a tensor, if it is there, into others: each is all that belongs to one place of its outermost
    /// dimension, in order.
    pub(super) fn unstack(
        &mut self,
        name: &str,
        part: impl Fn(usize) -> String,
    ) -> Result<(), ImportError> {
        let Some(whole) = self.stored.remove(name) else { return Ok(()) };
        let inner = whole.shape.get(1..).unwrap_or_default().to_vec();
        let mut offset = whole.offset;
        for place in 0..whole.shape.first().copied().unwrap_or(0) {
            let stored = Stored { shape: inner.clone(), offset, ..whole };
            let cut = || tensor_error(name, "is cut within a block");
            offset += stored.size_bytes().ok_or_else(cut)?;
            self.add(part(place), stored)?;
        }
        Ok(())
    }

    /// Takes a tensor apart, if it is there, that has this shape: each part is a matrix or a vector whose
    /// numbers lie among the others. A byte of `scales` is the power of two of each block.
    pub(super) fn take_apart(
        &mut self,
        (name, scales): (&str, Option<&str>),
        expected: &[usize],
        parts: impl Iterator<Item = (String, Vec<usize>, Among)>,
    ) -> Result<(), ImportError> {
        let Some(whole) = self.stored.remove(name) else { return Ok(()) };
        if whole.shape != expected || whole.interleaved_heads.is_some() {
            let problem = format!("shape {:?}, expected {expected:?}", whole.shape);
            return Err(tensor_error(name, &problem));
        }
        let scales = match scales {
            Some(scales) => {
                let stored = self.stored.remove(scales);
                let stored = stored.ok_or_else(|| tensor_error(scales, "missing"))?;
                let mut blocks = expected.to_vec();
                blocks.iter_mut().last().into_iter().for_each(|it| *it /= whole.element.block());
                if stored.shape != blocks || stored.element != Element::U8 {
                    let problem = format!("shape {:?}, expected bytes {blocks:?}", stored.shape);
                    return Err(tensor_error(scales, &problem));
                }
                Some(Scales { file: stored.file, offset: stored.offset })
            }
            None => None,
        };
        let all: usize = expected.iter().product();
        for (part, shape, among) in parts {
            let last = |count: Option<&usize>| count.copied().unwrap_or(1).saturating_sub(1);
            let rows = last(shape.first()).saturating_mul(among.row_stride);
            let columns = last(shape.get(1)).saturating_mul(among.column_stride);
            if among.first.saturating_add(rows).saturating_add(columns) >= all {
                return Err(tensor_error(&part, &format!("lies outside of {name}")));
            }
            self.add(part, Stored { shape, among: Some(among), scales, ..whole })?;
        }
        Ok(())
    }

    /// Names of all tensors that hold something.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// A tensor that is none of `used`, if there is one.
    pub(crate) fn other_than(&self, used: &BTreeSet<&str>) -> Option<&str> {
        self.stored.keys().map(String::as_str).find(|name| !used.contains(name))
    }

    /// Its shape, outermost first.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.stored.get(name).map(|stored| stored.shape.as_slice())
    }

    /// Bytes of all tensors, and those read so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let total = self.stored.values().filter_map(Stored::size_bytes).sum();
        (self.read_bytes.load(Ordering::Relaxed), total)
    }

    /// Rows of a tensor, row-major; a row is all but the outermost dimension.
    pub(super) fn rows(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
    ) -> Result<Vec<f32>, ImportError> {
        let missing = if self.empty.contains(name) { "holds nothing" } else { "missing" };
        let stored = self.stored.get(name).ok_or_else(|| tensor_error(name, missing))?;
        if stored.shape != shape {
            return Err(tensor_error(
                name,
                &format!("shape {:?}, expected {shape:?}", stored.shape),
            ));
        }
        let all = shape.first().copied().unwrap_or(1);
        if rows.start > rows.end || rows.end > all {
            return Err(tensor_error(name, &format!("rows {rows:?} of {all}")));
        }
        let Some(heads) = stored.interleaved_heads else { return self.read(name, stored, &rows) };
        // Whole heads are read, put in order, and cut to what was asked for.
        let in_head = all / heads;
        let (first, last) =
            (rows.start / in_head * in_head, rows.end.next_multiple_of(in_head).min(all));
        let interleaved = self.read(name, stored, &(first..last))?;
        let columns = interleaved.len() / (last - first).max(1);
        let mut values = Vec::with_capacity(rows.len() * columns);
        for row in rows {
            let at = (row - first) / in_head * in_head + interleaved_row(row % in_head, in_head);
            values.extend_from_slice(&interleaved[at * columns..][..columns]);
        }
        Ok(values)
    }

    /// A tensor, or as many of its first rows as `shape` has: models are not obliged to use all
    /// that their files hold.
    pub(crate) fn first_rows(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        let mut stored = self.shape(name).unwrap_or_default().to_vec();
        if let (Some(all), Some(wanted), true) =
            (stored.first_mut(), shape.first(), shape.len() > 1)
        {
            *all = (*all).min(*wanted);
        }
        if stored != shape {
            // Names what is wrong with it.
            return self.rows(name, shape, 0..0);
        }
        let whole = self.shape(name).unwrap_or_default().to_vec();
        self.rows(name, &whole, 0..shape[0])
    }

    /// Reads everything once, a few rows at a time.
    pub(super) fn read_all(&self) -> Result<(), ImportError> {
        for (name, stored) in &self.stored {
            let rows = stored.shape.first().copied().unwrap_or(1);
            let step = stored.interleaved_heads.map_or(1, |heads| rows / heads.max(1)).max(1);
            for start in (0..rows).step_by(step) {
                self.rows(name, &stored.shape, start..(start + step).min(rows))?;
            }
        }
        Ok(())
    }

    fn read(
        &self,
        name: &str,
        stored: &Stored,
        rows: &Range<usize>,
    ) -> Result<Vec<f32>, ImportError> {
        let all: usize = stored.shape.iter().product();
        let columns = all / stored.shape.first().copied().unwrap_or(1).max(1);
        let length = stored.element.bytes_of(rows.len() * columns).unwrap_or(0);
        let values = match stored.among {
            None => self.numbers(name, stored, rows.start * columns, rows.len() * columns)?,
            Some(among) => self.read_among(name, (stored, among), columns, rows)?,
        };
        self.read_bytes.fetch_add(length as u64, Ordering::Relaxed);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(tensor_error(name, "holds a value that is not a number"));
        }
        Ok(values)
    }

    /// Rows whose numbers lie among others: what lies between the first and the last number of a row is
    /// read, or of a column where those of a row are apart.
    fn read_among(
        &self,
        name: &str,
        (stored, among): (&Stored, Among),
        columns: usize,
        rows: &Range<usize>,
    ) -> Result<Vec<f32>, ImportError> {
        let Among { first, row_stride, column_stride } = among;
        let start = first + rows.start * row_stride;
        let mut values = Vec::with_capacity(rows.len() * columns);
        if column_stride == 1 && columns > 1 {
            for row in 0..rows.len() {
                values.extend(self.numbers(name, stored, start + row * row_stride, columns)?);
            }
            return Ok(values);
        }
        if rows.is_empty() {
            return Ok(values);
        }
        values.resize(rows.len() * columns, 0.0);
        let span = (rows.len() - 1) * row_stride + 1;
        for column in 0..columns {
            let numbers = self.numbers(name, stored, start + column * column_stride, span)?;
            for (row, number) in numbers.iter().step_by(row_stride.max(1)).enumerate() {
                values[row * columns + column] = *number;
            }
        }
        Ok(values)
    }

    /// Numbers of a tensor, one behind the other.
    fn numbers(
        &self,
        name: &str,
        stored: &Stored,
        start: usize,
        count: usize,
    ) -> Result<Vec<f32>, ImportError> {
        // Whole blocks are read, and cut to what was asked for.
        let block = stored.element.block();
        let first = start / block * block;
        let bytes_of = |values| {
            let cut = "is cut within a block";
            stored.element.bytes_of(values).ok_or_else(|| tensor_error(name, cut))
        };
        let (offset, length) =
            (bytes_of(first)?, bytes_of((start + count).next_multiple_of(block) - first)?);
        let bytes = self.files[stored.file].read_at(stored.offset + offset as u64, length)?;
        let mut values = stored.element.decode(&bytes);
        values.drain(..start - first);
        values.truncate(count);
        if let Some(Scales { file, offset }) = stored.scales {
            let offset = offset + (start / block) as u64;
            let scales = self.files[file].read_at(offset, count / block)?;
            for (block, scale) in values.chunks_exact_mut(block).zip(scales) {
                let scale = libm::ldexpf(1.0, i32::from(scale) - SCALE_BIAS);
                block.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(values)
    }
}

/// Where llama.cpp stores row `row` of a head: its converter reshapes `[heads, 2, half]` to
/// `[heads, half, 2]`.
fn interleaved_row(row: usize, in_head: usize) -> usize {
    let half = in_head / 2;
    row % half * 2 + row / half
}

pub(super) fn tensor_error(name: &str, problem: &str) -> ImportError {
    ImportError::Tensor { name: name.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[8, 2]`, two heads of four rows; row `r` holds `r, r + 0.5`, stored in the order of
    /// `order`.
    fn tensors(order: [usize; 8], interleaved_heads: Option<usize>) -> Tensors {
        let values = order.iter().flat_map(|row| [*row as f32, *row as f32 + 0.5]);
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        let mut tensors = Tensors::new(vec![WeightsFile::from_bytes("weights", bytes)]);
        let stored = Stored {
            file: 0,
            offset: 0,
            shape: vec![8, 2],
            element: Element::F32,
            interleaved_heads,
            among: None,
            scales: None,
        };
        tensors.add("q".to_owned(), stored).unwrap();
        tensors
    }

    #[test]
    fn interleaved_heads_come_back_in_order_however_they_are_cut() {
        // By hand: halves (0, 1) and (2, 3) of a head of four become 0, 2, 1, 3.
        let interleaved = tensors([0, 2, 1, 3, 4, 6, 5, 7], Some(2));
        let plain = tensors([0, 1, 2, 3, 4, 5, 6, 7], None);
        for start in 0..=8 {
            for end in start..=8 {
                let rows = |tensors: &Tensors| tensors.rows("q", &[8, 2], start..end).unwrap();
                assert_eq!(rows(&interleaved), rows(&plain), "{start}..{end}");
            }
        }
        assert_eq!(plain.rows("q", &[8, 2], 3..5).unwrap(), [3.0, 3.5, 4.0, 4.5]);
    }

    #[test]
    fn numbers_among_others_are_found_however_they_are_cut() {
        let among = |first, row_stride, column_stride| Among { first, row_stride, column_stride };
        let mut taken = tensors([0, 1, 2, 3, 4, 5, 6, 7], None);
        let parts = [
            ("gate".to_owned(), vec![1, 4], among(8, 1, 2)),
            ("bias".to_owned(), vec![8], among(1, 2, 1)),
            ("turned".to_owned(), vec![2, 8], among(0, 1, 2)),
        ];
        taken.take_apart(("q", None), &[8, 2], parts.into_iter()).unwrap();
        assert!(!taken.has("q"));
        assert_eq!(taken.rows("gate", &[1, 4], 0..1).unwrap(), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(taken.rows("bias", &[8], 2..4).unwrap(), [2.5, 3.5]);
        let whole = taken.rows("turned", &[2, 8], 0..2).unwrap();
        assert_eq!((whole[0], whole[7], whole[8], whole[15]), (0.0, 7.0, 0.5, 7.5));
        assert_eq!(taken.rows("turned", &[2, 8], 1..2).unwrap(), whole[8..]);
        for (shape, place, named) in [
            (vec![8, 2], among(2, 2, 1), "lies outside of q"),
            (vec![usize::MAX, 2], among(0, usize::MAX, 1), "lies outside of q"),
        ] {
            let mut tensors = tensors([0; 8], None);
            let part = [("part".to_owned(), shape, place)];
            let refused = tensors.take_apart(("q", None), &[8, 2], part.into_iter());
            assert!(refused.unwrap_err().to_string().contains(named));
        }
        let mut tensors = tensors([0; 8], None);
        let refused = tensors.take_apart(("q", None), &[2, 8], std::iter::empty());
        assert!(refused.unwrap_err().to_string().contains("[8, 2], expected [2, 8]"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let tensors = tensors([0, 1, 2, 3, 4, 5, 6, 7], None);
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let backwards = 2..1;
        for (name, shape, rows, named) in [
            ("k", [8, 2], 0..8, "k: missing"),
            ("q", [2, 8], 0..2, "shape [8, 2], expected [2, 8]"),
            ("q", [8, 2], 0..9, "rows 0..9 of 8"),
            ("q", [8, 2], backwards, "rows 2..1 of 8"),
        ] {
            let words = tensors.rows(name, &shape, rows).unwrap_err().to_string();
            assert!(words.contains(named), "{words}");
        }
    }

    #[test]
    fn lengths_that_no_computer_has_are_none() {
        let stored = |shape: &[usize], element| Stored {
            file: 0,
            offset: 0,
            shape: shape.to_vec(),
            element,
            interleaved_heads: None,
            among: None,
            scales: None,
        };
        assert_eq!(stored(&[2, 64], Element::Q4_0).size_bytes(), Some(4 * 18));
        assert_eq!(stored(&[], Element::F32).size_bytes(), Some(4));
        assert_eq!(stored(&[usize::MAX, 2], Element::F32).size_bytes(), None);
        assert_eq!(stored(&[usize::MAX / 2], Element::F32).size_bytes(), None);
        assert_eq!(stored(&[32, 48], Element::Q4_0).size_bytes(), None, "rows are whole blocks");
    }
}
