//! Rooms: the one that this page is in, with its invitation, or the way to make one.

use qrcodegen::{QrCode, QrCodeEcc};
use yew::{Callback, Html, Properties, function_component, html};

use crate::browser;
use crate::say;
use crate::state::Action;

/// What [`in_room`] draws.
#[derive(Clone, Debug)]
pub(super) struct InRoomProps {
    /// What invites others.
    pub(super) link: String,
    /// The page may put a text where it can be pasted from.
    pub(super) is_secure: bool,
    pub(super) dispatch: Callback<Action>,
}

pub(super) fn in_room(props: &InRoomProps) -> Html {
    let leave = props.dispatch.reform(|_| Action::LeaveRoom);
    let link = props.link.clone();
    let copy = Callback::from(move |_| browser::copy(&link));
    html! {
        <section class="card room" aria-labelledby="room-title">
            <div>
                <h2 id="room-title" data-testid="in-room">{ say!("room-in-title") }</h2>
                <p>{ say!("room-in-what") }</p>
                <div class="field">
                    <label for="room-link">{ say!("room-link") }</label>
                    <input id="room-link" data-testid="room-link" type="text" readonly=true dir="ltr" value={props.link.clone()} />
                </div>
                <div class="row">
                    if props.is_secure {
                        <button type="button" class="plain" data-testid="room-copy" onclick={copy}>{ say!("room-copy-button") }</button>
                    }
                    <button type="button" class="plain" data-testid="room-leave" onclick={leave}>{ say!("room-leave-button") }</button>
                </div>
            </div>
            { picture(&props.link) }
        </section>
    }
}

/// Properties of [`MakeRoom`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct MakeRoomProps {
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn MakeRoom(props: &MakeRoomProps) -> Html {
    let make = props.dispatch.reform(|_| Action::MakeRoom);
    html! {
        <section class="card" aria-labelledby="room-title">
            <h2 id="room-title">{ say!("room-title") }</h2>
            <p>{ say!("room-what") }</p>
            <div class="row">
                <button type="button" class="plain" data-testid="room-make" onclick={make}>{ say!("room-make-button") }</button>
            </div>
            <p class="soft">{ say!("room-make-hint") }</p>
        </section>
    }
}

/// The link as a QR code, dark on light in either theme, as cameras want it. A link that is too long for
/// one has none.
fn picture(link: &str) -> Html {
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
