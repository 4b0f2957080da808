//! The server's HTTP interface; the only file that does HTTP. Small JSON only: weights are the
//! worker's, and only after a click.
//!
//! What changes is pushed, over one stream a page (a browser has six connections to a host for all
//! its tabs together), and none while the page is not seen. [`Feed`] decides; here it is done.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::events::EventListener;
use gloo::timers::callback::Timeout;
use gloo::utils::{document, window};
use js_sys::JSON;
use potluck_protocol::api::{
    BUILD_EVENT, BoardView, ContributionView, ErrorBody, ModelView, NodesPage, ROOM_HEADER,
    ReceiptsPage, SWARM_EVENT, SwarmView, TALLY_EVENT, TallyRow,
};
use potluck_protocol::id::{NodeId, TeamId};
use potluck_protocol::people::{PersonView, TEAM_HEADER, TeamView};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    AbortSignal, Event, EventSource, Headers, MessageEvent, RequestCache, RequestInit, Response,
    VisibilityState,
};
use yew::Callback;

use crate::browser;
use crate::say;
use crate::state::Action;
use crate::state::feed::{Feed, FeedAction, FeedEvent};
use crate::state::mine::Which;

const NOT_FOUND: u16 = 404;
/// How long a statement waits for its answer: the next one waits for it too.
const STATEMENT_LIMIT_MS: u32 = 20_000;

/// Keeps the page told as long as it lives and is seen.
pub struct Listening {
    _on_visibility: EventListener,
    ear: Rc<Ear>,
}

impl core::fmt::Debug for Listening {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Listening")
    }
}

impl Listening {
    /// Starts at once, if the page is seen.
    #[must_use]
    pub fn start(dispatch: Callback<Action>) -> Self {
        let ear = Rc::new(Ear {
            dispatch,
            feed: RefCell::default(),
            stream: RefCell::default(),
            wait: RefCell::default(),
        });
        ear.look();
        let seen = Rc::clone(&ear);
        let on_visibility =
            EventListener::new(&document(), "visibilitychange", move |_| seen.look());
        Self { _on_visibility: on_visibility, ear }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ear.handle(FeedEvent::Hidden);
    }
}

struct Ear {
    dispatch: Callback<Action>,
    feed: RefCell<Feed>,
    stream: RefCell<Option<Stream>>,
    wait: RefCell<Option<Timeout>>,
}

impl Ear {
    fn look(self: &Rc<Self>) {
        let is_seen = document().visibility_state() == VisibilityState::Visible;
        self.handle(if is_seen { FeedEvent::Shown } else { FeedEvent::Hidden });
    }

    fn handle(self: &Rc<Self>, event: FeedEvent) {
        let actions = self.feed.borrow_mut().handle(event);
        for action in actions {
            match action {
                FeedAction::Open => match Stream::open(self) {
                    Ok(stream) => drop(self.stream.replace(Some(stream))),
                    Err(_) => self.handle(FeedEvent::Ended),
                },
                FeedAction::Close => later_drop((self.wait.take(), self.stream.take())),
                FeedAction::Fetch => spawn_local(fetch_all(self.dispatch.clone())),
                FeedAction::Wait(milliseconds) => {
                    let ear = Rc::clone(self);
                    let due = Timeout::new(milliseconds, move || {
                        later_drop(ear.wait.take());
                        ear.handle(FeedEvent::Due);
                    });
                    later_drop(self.wait.replace(Some(due)));
                }
            }
        }
    }
}

/// In a microtask, because this may be what calls us now, which must not be dropped while it runs.
fn later_drop<T: 'static>(over: T) {
    spawn_local(async move { drop(over) });
}

/// An open stream of events. Dropping it closes it.
struct Stream {
    source: EventSource,
    _listeners: [EventListener; 5],
}

impl Stream {
    /// None in a room: what is pushed is public, and a stream shows no pass.
    fn open(ear: &Rc<Ear>) -> Result<Self, JsValue> {
        if browser::room().is_some() {
            return Err(JsValue::NULL);
        }
        let source = EventSource::new(&address("events"))?;
        let (opened, failed) = (ear.dispatch.clone(), Rc::clone(ear));
        let (build, swarm, tally) =
            (ear.dispatch.clone(), ear.dispatch.clone(), ear.dispatch.clone());
        let listeners = [
            // Models change when the host changes them, which takes a restart of the server.
            EventListener::new(&source, "open", move |_| {
                spawn_local(fetch_models(opened.clone()));
            }),
            EventListener::new(&source, "error", move |event| {
                failed.dispatch.emit(Action::Silent(say!("server-silent")));
                let source = event.target().and_then(|one| one.dyn_into::<EventSource>().ok());
                if source.is_none_or(|one| one.ready_state() == EventSource::CLOSED) {
                    failed.handle(FeedEvent::Ended);
                }
            }),
            EventListener::new(&source, BUILD_EVENT, move |event| {
                build.emit(Action::Build(data(event)));
            }),
            EventListener::new(&source, SWARM_EVENT, move |event| {
                swarm.emit(Action::Swarm(parsed::<SwarmView>(event)));
            }),
            EventListener::new(&source, TALLY_EVENT, move |event| {
                tally.emit(Action::Tally(parsed::<Vec<TallyRow>>(event)));
            }),
        ];
        Ok(Self { source, _listeners: listeners })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}

fn data(event: &Event) -> String {
    let message = event.dyn_ref::<MessageEvent>();
    message.and_then(|message| message.data().as_string()).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(event: &Event) -> Result<T, String> {
    read(JSON::parse(&data(event)).map_err(|_| unreadable("JSON"))?)
}

/// Everything that would have been pushed.
async fn fetch_all(dispatch: Callback<Action>) {
    fetch_models(dispatch.clone()).await;
    dispatch.emit(Action::Swarm(fetch_of_room("swarm").await));
    dispatch.emit(Action::Tally(fetch_of_room("tally").await));
}

async fn fetch_models(dispatch: Callback<Action>) {
    // One that fails is made up for by the next; the swarm's own failure is shown.
    if let Ok(models) = fetch::<Vec<ModelView>>("models").await {
        dispatch.emit(Action::Models(models));
    }
}

/// Some of the nodes at the table, behind this one.
///
/// # Errors
/// A sentence, if the server does not answer or says that it cannot.
pub async fn nodes(after: Option<NodeId>) -> Result<NodesPage, String> {
    let query = after.map(|node| format!("?after={node}")).unwrap_or_default();
    fetch(&format!("swarm/nodes{query}")).await
}

/// True if the server says that it has no such file of the page (any more). What cannot be asked is
/// not missing.
pub async fn is_missing(file: &str) -> bool {
    let options = RequestInit::new();
    // The server's word, not that of a copy.
    options.set_cache(RequestCache::NoStore);
    let asked = JsFuture::from(window().fetch_with_str_and_init(file, &options)).await;
    asked.is_ok_and(|answer| answer.unchecked_into::<Response>().status() == NOT_FOUND)
}

/// The same of the room that the page is in: where nobody else is in it, there is nothing.
async fn fetch_of_room<T: DeserializeOwned + Default>(resource: &str) -> Result<T, String> {
    let response = request(&address(resource)).await?;
    if browser::room().is_some() && response.status() == NOT_FOUND {
        return Ok(T::default());
    }
    read_json(response).await
}

/// Gets a resource of our own server and reads its JSON. The browser asks the server whether the
/// copy that it has is still good, by itself.
async fn fetch<T: DeserializeOwned>(resource: &str) -> Result<T, String> {
    read_json(request(&address(resource)).await?).await
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, String> {
    let response = checked(response)?;
    let json = async { JsFuture::from(response.json()?).await };
    read(json.await.map_err(|_| say!("server-broke-off"))?)
}

/// What a node was credited with, day by day.
///
/// # Errors
/// A sentence, if the server does not answer or says that it cannot.
pub async fn contribution(node: NodeId) -> Result<ContributionView, String> {
    fetch(&format!("contribution/{node}")).await
}

/// Receipts of a node, the newest first, or those behind one.
///
/// # Errors
/// A sentence, if the server does not answer or says that it cannot.
pub async fn receipts(node: NodeId, before: Option<u32>) -> Result<ReceiptsPage, String> {
    fetch_of_room(&receipts_of(node, before, 20)).await
}

/// A page of them as the server wrote it, and what comes behind it.
///
/// # Errors
/// The same.
pub async fn receipts_text(
    node: NodeId,
    before: Option<u32>,
) -> Result<(String, Option<u32>), String> {
    let text = text(get(&address(&receipts_of(node, before, 100))).await?).await?;
    let page: ReceiptsPage = read(JSON::parse(&text).map_err(|_| unreadable("JSON"))?)?;
    Ok((text, page.next))
}

fn receipts_of(node: NodeId, before: Option<u32>, limit: u32) -> String {
    let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
    format!("receipts/{node}?limit={limit}{before}")
}

/// A board, with the place of `own`.
///
/// # Errors
/// A sentence, if the server does not answer or says that it cannot.
pub async fn board(which: Which, own: Option<String>) -> Result<BoardView, String> {
    let Which { of, class, period } = which;
    let own = own.map(|own| format!("&own={own}")).unwrap_or_default();
    let (of, class, period) = (of.word(), class.word(), period.word());
    fetch_of_room(&format!("boards?of={of}&class={class}&period={period}{own}")).await
}

/// The team of an invitation.
///
/// # Errors
/// A sentence, if the server does not answer or there is none.
pub async fn team(id: TeamId) -> Result<TeamView, String> {
    let options = RequestInit::new();
    let headers = Headers::new().ok();
    let headers = headers.filter(|headers| headers.set(TEAM_HEADER, &id.to_string()).is_ok());
    if let Some(headers) = headers {
        options.set_headers(&headers);
    }
    answer(send(&address("team"), &options).await?).await
}

/// Sends a signed statement; what the server knows of who signed it.
///
/// # Errors
/// The server's sentence, if it does not count.
pub async fn say(body: &str) -> Result<PersonView, String> {
    let options = with_pass();
    options.set_method("POST");
    options.set_body(&body.into());
    options.set_signal(Some(&AbortSignal::timeout_with_u32(STATEMENT_LIMIT_MS)));
    answer(send(&address("people"), &options).await?).await
}

/// What an answer holds, or the sentence why there is none.
async fn answer<T: DeserializeOwned>(response: Response) -> Result<T, String> {
    if response.ok() {
        return read_json(response).await;
    }
    let status = response.status().to_string();
    let body: Result<ErrorBody, String> = match response.json() {
        Ok(json) => match JsFuture::from(json).await {
            Ok(json) => read(json),
            Err(_) => Err(String::new()),
        },
        Err(_) => Err(String::new()),
    };
    Err(match body {
        Ok(body) => say!("mine-refused", reason = body.error),
        Err(_) => say!("server-status", status = status),
    })
}

/// The words of a language, as its file has them.
///
/// # Errors
/// A sentence, if they cannot be had.
pub async fn words(file: &str) -> Result<String, String> {
    text(get(file).await?).await
}

async fn text(response: Response) -> Result<String, String> {
    let text = async { JsFuture::from(response.text()?).await };
    let text = text.await.ok().and_then(|text| text.as_string());
    text.ok_or_else(|| say!("server-broke-off"))
}

async fn get(address: &str) -> Result<Response, String> {
    checked(request(address).await?)
}

/// Asks, and in a room shows its pass.
async fn request(address: &str) -> Result<Response, String> {
    send(address, &with_pass()).await
}

/// A request that shows the pass of the room that the page is in.
fn with_pass() -> RequestInit {
    let options = RequestInit::new();
    let headers = match browser::room() {
        Some(room) => {
            let headers = Headers::new().ok();
            let pass = room.pass().to_string();
            headers.filter(|headers| headers.set(ROOM_HEADER, &pass).is_ok())
        }
        None => None,
    };
    if let Some(headers) = headers {
        options.set_headers(&headers);
    }
    options
}

async fn send(address: &str, options: &RequestInit) -> Result<Response, String> {
    let asked = JsFuture::from(window().fetch_with_str_and_init(address, options)).await;
    Ok(asked.map_err(|_| say!("server-silent"))?.unchecked_into())
}

fn checked(response: Response) -> Result<Response, String> {
    if response.ok() {
        Ok(response)
    } else {
        Err(say!("server-status", status = response.status().to_string()))
    }
}

fn read<T: DeserializeOwned>(value: JsValue) -> Result<T, String> {
    serde_wasm_bindgen::from_value(value).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(why: &str) -> String {
    say!("server-unreadable", reason = why)
}

fn address(resource: &str) -> String {
    format!("{}/api/v1/{resource}", browser::server())
}
