//! A link as a QR code.

use qrcodegen::{QrCode, QrCodeEcc};
use yew::{Html, html};

use crate::say;

/// The link as a QR code, dark on light in either theme, as cameras want it. A link that is too long for
/// one has none.
pub(super) fn picture(link: &str) -> Html {
    // A screen is clean: the least correction makes the largest squares.
    let Ok(code) = QrCode::encode_text(link, QrCodeEcc::Low) else { return Html::default() };
    let side = code.size() + 2 * QUIET;
    html! {
        <svg class="qr" viewBox={format!("0 0 {side} {side}")} role="img" aria-label={say!("room-qr")}>
            <rect width="100%" height="100%" fill="#fff" />
            <path d={squares(&code)} fill="#000" />
        </svg>
    }
}

/// The empty edge that a code needs, squares.
const QUIET: i32 = 4;

/// Its dark squares as a path.
fn squares(code: &QrCode) -> String {
    let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    let dark = all.filter(|(x, y)| code.get_module(*x, *y));
    dark.map(|(x, y)| format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET)).collect()
}
