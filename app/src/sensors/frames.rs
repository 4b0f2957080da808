//! Whether the page is drawn in time while this computer computes for others. Pure: a frame's time
//! comes in, a judgement comes out.
//!
//! A frame is late when it comes so long after the one before that a person sees it stand. A single
//! one proves nothing: what counts is how much of a few seconds went by in late frames, twice in a
//! row, so that loading a picture, or another program that starts, stops nothing.

/// Milliseconds between two frames from which on a scroll is seen to jump: fewer than 20 a second.
const LATE_MS: f64 = 50.0;
/// A gap so long is no late frame: the page was hidden or the computer asleep.
const ASLEEP_MS: f64 = 2_000.0;
/// Milliseconds that are judged together.
const WINDOW_MS: f64 = 3_000.0;
/// The part of them that may go by in late frames.
const LATE_SHARE: f64 = 0.5;
/// Windows in a row that are bad before the page says so, and that are good before it takes it back.
const IN_A_ROW: u32 = 2;

/// What was seen of the frames lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Frames {
    last_ms: Option<f64>,
    window_ms: f64,
    late_ms: f64,
    /// Windows in a row that say otherwise than `is_dropping`.
    otherwise: u32,
    is_dropping: bool,
}

impl Frames {
    /// A frame is drawn at this time, milliseconds on any clock. Returns the judgement where it is
    /// another one now.
    pub fn frame(&mut self, now_ms: f64) -> Option<bool> {
        let gap = self.last_ms.replace(now_ms).map_or(0.0, |last| now_ms - last);
        if !(0.0..ASLEEP_MS).contains(&gap) {
            (self.window_ms, self.late_ms) = (0.0, 0.0);
            return None;
        }
        self.window_ms += gap;
        if gap > LATE_MS {
            self.late_ms += gap;
        }
        if self.window_ms < WINDOW_MS {
            return None;
        }
        let is_bad = self.late_ms > LATE_SHARE * self.window_ms;
        (self.window_ms, self.late_ms) = (0.0, 0.0);
        self.otherwise = if is_bad == self.is_dropping { 0 } else { self.otherwise + 1 };
        if self.otherwise < IN_A_ROW {
            return None;
        }
        (self.is_dropping, self.otherwise) = (is_bad, 0);
        Some(is_bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws for so many seconds with these gaps in turns; what was said meanwhile.
    fn draw(frames: &mut Frames, now_ms: &mut f64, seconds: f64, gaps_ms: &[f64]) -> Vec<bool> {
        let end = *now_ms + seconds * 1000.0;
        let mut said = Vec::new();
        for gap in gaps_ms.iter().cycle() {
            if *now_ms >= end {
                break;
            }
            *now_ms += gap;
            said.extend(frames.frame(*now_ms));
        }
        said
    }

    #[test]
    fn a_page_that_is_drawn_in_time_is_fine_at_any_rate_of_its_display() {
        for hertz in [24.0, 60.0, 144.0] {
            let (mut frames, mut now) = (Frames::default(), 0.0);
            assert!(draw(&mut frames, &mut now, 60.0, &[1000.0 / hertz]).is_empty(), "{hertz} Hz");
        }
    }

    #[test]
    fn jumping_for_some_seconds_is_said_once_and_taken_back_once() {
        let (mut frames, mut now) = (Frames::default(), 0.0);
        draw(&mut frames, &mut now, 10.0, &[16.0]);
        assert_eq!(draw(&mut frames, &mut now, 20.0, &[120.0, 16.0]), [true]);
        assert_eq!(draw(&mut frames, &mut now, 20.0, &[16.0]), [false]);
    }

    #[test]
    fn a_short_stutter_and_a_few_late_frames_are_nothing() {
        let (mut frames, mut now) = (Frames::default(), 0.0);
        for _ in 0..5 {
            assert!(draw(&mut frames, &mut now, 2.0, &[200.0]).is_empty());
            assert!(draw(&mut frames, &mut now, 8.0, &[16.0]).is_empty());
        }
        // One in ten frames, four tenths of the time.
        assert!(
            draw(&mut frames, &mut now, 60.0, &[96.0, 16., 16., 16., 16., 16., 16., 16., 16., 16.])
                .is_empty()
        );
    }

    #[test]
    fn a_hidden_page_has_no_frames_and_has_not_dropped_any() {
        let (mut frames, mut now) = (Frames::default(), 0.0);
        for _ in 0..20 {
            now += 60_000.0;
            assert_eq!(frames.frame(now), None);
            assert!(draw(&mut frames, &mut now, 1.0, &[16.0]).is_empty());
        }
        // A clock that goes back, or is none.
        assert_eq!(frames.frame(0.0), None);
        assert_eq!(frames.frame(f64::NAN), None);
        now = 100.0;
        assert!(draw(&mut frames, &mut now, 10.0, &[16.0]).is_empty());
    }
}
