//! The node as a requester: a prompt goes in, text comes out.
//!
//! ```text
//! Ask -> manifest, tokenizer -> (server) Waiting* -> Route -> steps out, tokens in -> Done
//!                                   ▲                          │
//!                                   └── a stage is gone: again, with all tokens so far
//! ```
//! The prompt goes out in steps of up to 128 tokens, all at once, so that the stages overlap; then
//! one token at a time. An answer that breaks off is asked for again, in a new session without
//! whoever it broke off at. The tokens so far are its prompt then: arithmetic is exact and a draw
//! depends on nothing but seed and place, so the text goes on as if nothing had been.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use potluck_model::tokenizer::TextStream;
use potluck_protocol::codec::{MAX_EXCLUDED, MAX_POSITIONS, MAX_ROWS, clip_reason};
use potluck_protocol::id::{LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Ask, Notice, StageView};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::Receipt;
use potluck_protocol::sampling::{MAX_TEMPERATURE_MILLI, MIN_TEMPERATURE_MILLI, Sampling};
use potluck_protocol::server::{Session, ToServer};

use super::receipts::Known;
use super::{Action, Node};

/// The requester.
#[derive(Debug, Default)]
pub(super) struct State {
    asks: BTreeMap<RequestId, Asking>,
    /// Sessions that are over, kept a while to sign the last receipts.
    ended: HashMap<SessionId, Ended>,
    /// Per session and stage: the position up to which receipts are signed.
    signed_to: HashMap<(SessionId, NodeId), u32>,
}

#[derive(Debug)]
struct Asking {
    ask: Ask,
    phase: Phase,
    /// Once there was a route; what outlives it.
    progress: Option<Box<Progress>>,
    /// Whom the answer broke off at, the latest last.
    exclude: Vec<NodeId>,
    /// Routes since the last token that led to none.
    failed_attempts: u32,
}

#[derive(Debug)]
enum Phase {
    /// Waiting for the link, the manifest or the tokenizer.
    Preparing,
    /// The server is looking for a route.
    Waiting { model: ModelId },
    /// The answer is coming.
    Running(Box<Running>),
}

#[derive(Debug)]
struct Running {
    session: Session,
    /// No token by then: the answer breaks off.
    deadline: Duration,
    /// Once there was a token in this session, how long to wait for the next without a word.
    probe_at: Option<Duration>,
    /// Stages that were asked whether they are there and have not said so, and until when they may.
    unanswered: Option<(Vec<NodeId>, Duration)>,
}

/// How far an answer has come.
#[derive(Debug)]
struct Progress {
    sampling: Sampling,
    max_tokens: u32,
    max_positions: u32,
    end_tokens: Vec<u32>,
    vocab: u32,
    stream: TextStream,
    /// Fed so far: those of the prompt and those drawn, but for the last.
    tokens: Vec<u32>,
    /// Positions of the prompt.
    prompt: u32,
    /// Tokens received.
    received: u32,
    started: Duration,
    first_token: Option<Duration>,
}

impl Progress {
    /// Positions fed.
    fn fed(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
struct Ended {
    session: Session,
    prompt: u32,
    fed: u32,
    /// How long a program stays for the last receipts, unless they are all signed before.
    settled: Duration,
    is_settling: bool,
    until: Duration,
}

/// How a session ends.
struct SessionEnd<'a> {
    reason: &'a str,
    failed_node: Option<NodeId>,
    is_whole: bool,
}

/// Questions of one node at once.
const MAX_REQUESTS: usize = 8;
/// Bytes of a prompt: more than any context here holds, little enough to tokenise at once.
const MAX_PROMPT_BYTES: usize = 64 * 1024;
/// The longest a single step may take, connecting included: a slow swarm is slow, but a silent one
/// is broken.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// So long after a token the stages are asked whether they are there: a step of one row takes the
/// slowest of them less.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// So long they may take to say so: they do between two batches. Whoever is frozen (a laptop's lid
/// closed, a network gone without a word) does not.
const PONG_TIMEOUT: Duration = Duration::from_secs(4);
/// Routes in a row that bring no token: then the swarm, or the question, is at fault.
const MAX_FAILED_ATTEMPTS: u32 = 5;
/// How long the last receipts of an answer may take to come.
const RECEIPTS_GRACE: Duration = Duration::from_secs(20);
/// The same of a session that broke off, where nobody knows how many are still to come.
const BROKEN_GRACE: Duration = Duration::from_secs(1);
/// Seeds fit a JavaScript request.
const MAX_SEED: u64 = (1 << 53) - 1;

impl State {
    pub(super) fn is_in(&self, session: SessionId, node: NodeId) -> bool {
        self.running()
            .any(|running| running.session.id == session && includes(&running.session, node))
    }

    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.running().any(|running| includes(&running.session, peer))
            || self.ended.values().any(|ended| includes(&ended.session, peer))
    }

    pub(super) fn sessions_with(&self, peer: NodeId) -> Vec<SessionId> {
        self.running()
            .filter(|running| includes(&running.session, peer))
            .map(|running| running.session.id)
            .collect()
    }

    /// What is known of a session of ours, running or just over.
    pub(super) fn known(&self, id: SessionId) -> Option<Known<'_>> {
        let running =
            self.asks.values().find_map(|asking| match (&asking.phase, &asking.progress) {
                (Phase::Running(running), Some(progress)) if running.session.id == id => {
                    Some(Known {
                        session: &running.session,
                        fed: progress.fed(),
                        prompt: progress.prompt,
                    })
                }
                _ => None,
            });
        running.or_else(|| {
            self.ended.get(&id).map(|e| Known { session: &e.session, fed: e.fed, prompt: e.prompt })
        })
    }

    /// A stage of a session is there.
    pub(super) fn heard_from(&mut self, id: SessionId, from: NodeId) {
        for asking in self.asks.values_mut() {
            if let Phase::Running(running) = &mut asking.phase
                && running.session.id == id
                && let Some((unanswered, _)) = &mut running.unanswered
            {
                unanswered.retain(|stage| *stage != from);
            }
        }
    }

    /// True, once, for the receipt that continues where the last one signed for this stage ended.
    pub(super) fn not_yet_signed(&mut self, receipt: &Receipt) -> bool {
        let signed_to = self.signed_to.entry((receipt.session, receipt.stage)).or_insert(0);
        if *signed_to != receipt.from_position {
            return false;
        }
        *signed_to = receipt.to_position;
        true
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.asks.values().filter_map(|asking| match &asking.phase {
            Phase::Running(running) => Some(&**running),
            Phase::Preparing | Phase::Waiting { .. } => None,
        })
    }

    fn ask_of(&self, session: SessionId) -> Option<RequestId> {
        self.asks.iter().find_map(|(request, asking)| match &asking.phase {
            Phase::Running(running) if running.session.id == session => Some(*request),
            _ => None,
        })
    }
}

fn includes(session: &Session, node: NodeId) -> bool {
    session.stages.iter().any(|stage| stage.node == node)
}

impl Node {
    pub(super) fn ask(&mut self, ask: Ask, now: Duration) {
        let request = ask.request;
        let fault = if self.asking.asks.len() >= MAX_REQUESTS {
            Some(format!(
                "{MAX_REQUESTS} questions are being answered already; wait for one, or cancel it"
            ))
        } else if self.asking.asks.contains_key(&request) {
            Some("this question is being answered already".to_owned())
        } else if ask.prompt.trim().is_empty() {
            Some("the question is empty; write something first".to_owned())
        } else if ask.prompt.len() > MAX_PROMPT_BYTES {
            Some(format!(
                "the question has {} bytes; at most {MAX_PROMPT_BYTES} can be sent",
                ask.prompt.len()
            ))
        } else if ask.sampling.seed > MAX_SEED {
            Some(format!("the seed is {}; at most {MAX_SEED} is allowed", ask.sampling.seed))
        } else if ask.max_tokens == Some(0) {
            Some("an answer of 0 tokens was asked for; ask for at least 1".to_owned())
        } else if self.link.is_off() {
            Some("not connected to a server".to_owned())
        } else {
            sampling_fault(&ask)
        };
        if let Some(reason) = fault {
            self.notice(Notice::Answer { request, event: AnswerEvent::Failed { reason } });
            return;
        }
        let asking = Asking {
            ask,
            phase: Phase::Preparing,
            progress: None,
            exclude: Vec::new(),
            failed_attempts: 0,
        };
        self.asking.asks.insert(request, asking);
        self.prepare(request, now);
    }

    /// Takes a question one step further: model, manifest, tokenizer, then to the server.
    fn prepare(&mut self, request: RequestId, now: Duration) {
        let Some(asking) = self.asking.asks.get_mut(&request) else { return };
        if !self.link.is_open() || !matches!(asking.phase, Phase::Preparing) {
            return;
        }
        let wanted = asking.ask.model.as_deref();
        let Some(model) =
            self.models.iter().find(|model| wanted.is_none_or(|name| name == model.name))
        else {
            let known: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            let reason = match wanted {
                Some(name) => {
                    format!("this swarm has no model {name:?}; it has {}", known.join(", "))
                }
                None => "this swarm has no model yet".to_owned(),
            };
            self.fail_ask(request, &reason, now);
            return;
        };
        let model = model.id;
        let Some(manifest) = self.manifests.get(&model) else {
            self.actions.push(Action::FetchManifest { model });
            return;
        };
        if !self.tokenizers.contains_key(&model) {
            self.actions.push(Action::FetchTokenizer { model, blob: manifest.tokenizer });
            return;
        }
        if let Err(reason) = self.prompt_tokens(request, model) {
            return self.fail_ask(request, &reason, now);
        }
        let Some(asking) = self.asking.asks.get_mut(&request) else { return };
        asking.phase = Phase::Waiting { model };
        let exclude = asking.exclude.clone();
        self.say_to_server(&ToServer::Ask { request, model, exclude });
    }

    fn prompt_tokens(&self, request: RequestId, model: ModelId) -> Result<Vec<u32>, String> {
        let (Some(asking), Some(manifest), Some(tokenizer)) = (
            self.asking.asks.get(&request),
            self.manifests.get(&model),
            self.tokenizers.get(&model),
        ) else {
            return Err("the model is not ready".to_owned());
        };
        let tokens = tokenizer
            .encode_chat(&manifest.chat, &asking.ask.prompt)
            .map_err(|error| error.to_string())?;
        let limit = manifest.config.max_positions.min(MAX_POSITIONS) as usize;
        if tokens.len() >= limit {
            let name = &manifest.name;
            return Err(format!(
                "the question has {} tokens; {name} takes at most {}, answer included",
                tokens.len(),
                limit
            ));
        }
        Ok(tokens)
    }

    pub(super) fn asking_manifest(
        &mut self,
        _model: ModelId,
        failure: Option<&str>,
        now: Duration,
    ) {
        self.continue_preparing(failure, now);
    }

    pub(super) fn asking_tokenizer(
        &mut self,
        _model: ModelId,
        failure: Option<&str>,
        now: Duration,
    ) {
        self.continue_preparing(failure, now);
    }

    fn continue_preparing(&mut self, failure: Option<&str>, now: Duration) {
        let preparing = |asking: &Asking| matches!(asking.phase, Phase::Preparing);
        let requests: Vec<RequestId> =
            self.asking.asks.iter().filter(|(_, a)| preparing(a)).map(|(n, _)| *n).collect();
        for request in requests {
            match failure {
                Some(reason) => self.fail_ask(
                    request,
                    &format!("could not get the model's description: {reason}"),
                    now,
                ),
                None => self.prepare(request, now),
            }
        }
    }

    pub(super) fn asking_link_open(&mut self, now: Duration) {
        self.continue_preparing(None, now);
    }

    /// Questions without a route are asked again when the link is back; running answers go on
    /// without the server.
    pub(super) fn asking_link_lost(&mut self) {
        for asking in self.asking.asks.values_mut() {
            if matches!(asking.phase, Phase::Waiting { .. }) {
                asking.phase = Phase::Preparing;
            }
        }
    }

    pub(super) fn waiting(&mut self, request: RequestId, missing: Vec<LayerRange>) {
        let Some(Asking { phase: Phase::Waiting { model }, .. }) = self.asking.asks.get(&request)
        else {
            return;
        };
        let model =
            self.manifests.get(model).map_or_else(String::new, |manifest| manifest.name.clone());
        self.notice(Notice::Answer { request, event: AnswerEvent::Waiting { model, missing } });
    }

    pub(super) fn routed(&mut self, request: RequestId, session: Session, now: Duration) {
        let waiting = matches!(
            self.asking.asks.get(&request),
            Some(Asking { phase: Phase::Waiting { model }, .. }) if *model == session.model
        );
        if !waiting || session.requester != self.me {
            let reason = "the question was withdrawn".to_owned();
            self.say_to_server(&ToServer::EndSession {
                session: session.id,
                reason,
                failed_node: None,
            });
            return;
        }
        let drawn = match self.begin(request, session.model, now) {
            Ok(drawn) => drawn,
            Err(reason) => {
                self.say_to_server(&ToServer::EndSession {
                    session: session.id,
                    reason: clip_reason(&reason),
                    failed_node: None,
                });
                return self.fail_ask(request, &reason, now);
            }
        };
        let Some(asking) = self.asking.asks.get_mut(&request) else { return };
        let Some(progress) = &asking.progress else { return };
        let event = AnswerEvent::Route {
            session: session.id.to_string(),
            stages: session
                .stages
                .iter()
                .map(|s| StageView { node: s.node, layers: s.layers })
                .collect(),
            sampling: progress.sampling,
            prompt_tokens: progress.prompt,
        };
        let (tokens, sampling) = (progress.tokens.clone(), progress.sampling);
        let running = Running {
            session: session.clone(),
            deadline: now + STEP_TIMEOUT,
            probe_at: None,
            unanswered: None,
        };
        asking.phase = Phase::Running(Box::new(running));
        self.notice(Notice::Answer { request, event });
        for event in drawn {
            self.notice(Notice::Answer { request, event });
        }
        for stage in &session.stages {
            self.open_peer(stage.node, &session);
        }
        let steps = tokens.len().div_ceil(MAX_ROWS);
        let mut position = 0;
        for (step, tokens) in tokens.chunks(MAX_ROWS).enumerate() {
            let sampling = (step + 1 == steps).then_some(sampling);
            let frame = PeerFrame::Step {
                session: session.id,
                position,
                tokens: tokens.to_vec(),
                sampling,
            };
            position += u32::try_from(tokens.len()).unwrap_or(u32::MAX);
            self.send_peer(session.stages[0].node, frame);
        }
    }

    /// The first route: from here on there is something to lose. Gives what was drawn before, to be
    /// told again.
    fn begin(
        &mut self,
        request: RequestId,
        model: ModelId,
        now: Duration,
    ) -> Result<Vec<AnswerEvent>, String> {
        let tokens = self.prompt_tokens(request, model)?;
        let (Some(manifest), Some(tokenizer), Some(asking)) = (
            self.manifests.get(&model),
            self.tokenizers.get(&model),
            self.asking.asks.get_mut(&request),
        ) else {
            return Err("the model is not ready".to_owned());
        };
        if asking.progress.is_some() {
            return Ok(Vec::new());
        }
        let (choice, defaults) = (asking.ask.sampling, &manifest.defaults);
        let sampling = Sampling {
            temperature_milli: choice.temperature_milli.unwrap_or(defaults.temperature_milli),
            top_k: choice.top_k.unwrap_or(defaults.top_k),
            top_p_milli: choice.top_p_milli.unwrap_or(defaults.top_p_milli),
            seed: choice.seed,
        };
        let mut progress = Progress {
            sampling,
            max_tokens: asking.ask.max_tokens.unwrap_or(defaults.max_tokens),
            max_positions: manifest.config.max_positions.min(MAX_POSITIONS),
            end_tokens: manifest.end_tokens.clone(),
            vocab: manifest.config.vocab,
            stream: TextStream::new(std::sync::Arc::clone(tokenizer)),
            prompt: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            tokens,
            received: 0,
            started: now,
            first_token: None,
        };
        let mut told = Vec::new();
        for token in std::mem::take(&mut asking.ask.drawn) {
            if token >= progress.vocab || progress.end_tokens.contains(&token) {
                return Err("the answer cannot go on: it has a token that is not one of its kind. Ask again".to_owned());
            }
            if progress.received + 1 >= progress.max_tokens
                || progress.fed() + 1 >= progress.max_positions
            {
                return Err("the answer cannot go on: it is whole already".to_owned());
            }
            progress.tokens.push(token);
            progress.received += 1;
            told.push(AnswerEvent::Token { token, text: progress.stream.push(token) });
        }
        asking.progress = Some(Box::new(progress));
        Ok(told)
    }

    pub(super) fn token(
        &mut self,
        from: NodeId,
        id: SessionId,
        position: u32,
        token: u32,
        now: Duration,
    ) {
        let Some(request) = self.asking.ask_of(id) else { return };
        let Some(asking) = self.asking.asks.get_mut(&request) else { return };
        let (Phase::Running(running), Some(progress)) = (&mut asking.phase, &mut asking.progress)
        else {
            return;
        };
        let expected_from = running.session.stages.last().map(|stage| stage.node);
        if expected_from != Some(from) || position != progress.fed() || token >= progress.vocab {
            let fault = "it sent a token that was not asked of it";
            if from == self.me {
                self.fail_ask_of(id, fault, now);
            } else {
                self.drop_peer(from, fault, now);
            }
            return;
        }
        asking.failed_attempts = 0;
        running.deadline = now + STEP_TIMEOUT;
        running.probe_at = Some(now + PROBE_AFTER);
        running.unanswered = None;
        progress.received += 1;
        progress.first_token.get_or_insert(now);
        if progress.end_tokens.contains(&token) {
            let text = progress.stream.finish();
            self.notice(Notice::Answer { request, event: AnswerEvent::Token { token, text } });
            self.finish_ask(request, AnswerEnd::Stop, now);
            return;
        }
        let mut text = progress.stream.push(token);
        let full = progress.received >= progress.max_tokens
            || progress.fed() + 1 >= progress.max_positions;
        if full {
            text.push_str(&progress.stream.finish());
        } else {
            progress.tokens.push(token);
            let (first, sampling) = (running.session.stages[0].node, Some(progress.sampling));
            self.send_peer(
                first,
                PeerFrame::Step { session: id, position, tokens: vec![token], sampling },
            );
        }
        self.notice(Notice::Answer { request, event: AnswerEvent::Token { token, text } });
        if full {
            self.finish_ask(request, AnswerEnd::Length, now);
        }
    }

    pub(super) fn cancel(&mut self, request: RequestId, now: Duration) {
        match self.asking.asks.get(&request).map(|asking| &asking.phase) {
            Some(Phase::Waiting { .. }) => {
                self.say_to_server(&ToServer::Cancel { request });
                self.finish_ask(request, AnswerEnd::Cancelled, now);
            }
            Some(_) => self.finish_ask(request, AnswerEnd::Cancelled, now),
            None => {}
        }
    }

    fn finish_ask(&mut self, request: RequestId, end: AnswerEnd, now: Duration) {
        let Some(asking) = self.asking.asks.remove(&request) else { return };
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let event = match &asking.progress {
            Some(progress) => {
                let first = progress.first_token.unwrap_or(now);
                AnswerEvent::Done {
                    end,
                    first_token_ms: millis(first.saturating_sub(progress.started)),
                    decode_ms: millis(now.saturating_sub(first)),
                    tokens: progress.received,
                }
            }
            None => AnswerEvent::Done { end, first_token_ms: 0, decode_ms: 0, tokens: 0 },
        };
        self.notice(Notice::Answer { request, event });
        self.close_ask(asking, "the answer is whole", end != AnswerEnd::Cancelled, now);
    }

    pub(super) fn fail_ask(&mut self, request: RequestId, reason: &str, now: Duration) {
        let Some(asking) = self.asking.asks.remove(&request) else { return };
        let reason = reason.to_owned();
        self.notice(Notice::Answer {
            request,
            event: AnswerEvent::Failed { reason: reason.clone() },
        });
        self.close_ask(asking, &reason, false, now);
    }

    /// For good: whoever is at fault is here.
    fn fail_ask_of(&mut self, session: SessionId, reason: &str, now: Duration) {
        if let Some(request) = self.asking.ask_of(session) {
            let reason = format!(
                "the answer stopped: {reason}. The text so far is kept; ask again to get a whole one"
            );
            self.fail_ask(request, &reason, now);
        }
    }

    /// A session of ours cannot go on: its answer does in another, without the failed node, if one
    /// is known and can be spared.
    pub(super) fn resume_ask_of(
        &mut self,
        id: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        let Some(request) = self.asking.ask_of(id) else { return };
        let Some(asking) = self.asking.asks.get_mut(&request) else { return };
        asking.failed_attempts += 1;
        if asking.failed_attempts > MAX_FAILED_ATTEMPTS {
            return self.fail_ask_of(id, reason, now);
        }
        if let Some(failed_node) = failed_node.filter(|failed_node| *failed_node != self.me) {
            asking.exclude.retain(|excluded| *excluded != failed_node);
            asking.exclude.push(failed_node);
            if asking.exclude.len() > MAX_EXCLUDED {
                asking.exclude.remove(0);
            }
        }
        let Phase::Running(running) = std::mem::replace(&mut asking.phase, Phase::Preparing) else {
            return;
        };
        let known = asking.progress.as_ref().map(|progress| (progress.prompt, progress.fed()));
        tracing::info!(session = %id, reason, "an answer goes on elsewhere");
        let event = AnswerEvent::Resuming { reason: reason.to_owned() };
        self.notice(Notice::Answer { request, event });
        let end = SessionEnd { reason, failed_node, is_whole: false };
        self.close_session(running.session, known.unwrap_or_default(), end, now);
        self.prepare(request, now);
    }

    pub(super) fn fail_all_asks(&mut self, reason: &str, now: Duration) {
        let requests: Vec<RequestId> = self.asking.asks.keys().copied().collect();
        for request in requests {
            self.fail_ask(request, reason, now);
        }
    }

    fn close_ask(&mut self, asking: Asking, reason: &str, is_whole: bool, now: Duration) {
        let known = asking.progress.as_ref().map(|progress| (progress.prompt, progress.fed()));
        if let Phase::Running(running) = asking.phase {
            let end = SessionEnd { reason, failed_node: None, is_whole };
            self.close_session(running.session, known.unwrap_or_default(), end, now);
        }
    }

    /// Tells every stage, and the server, that the session is over, and stays ready to sign the
    /// last receipts.
    fn close_session(
        &mut self,
        session: Session,
        known: (u32, u32),
        end: SessionEnd<'_>,
        now: Duration,
    ) {
        let SessionEnd { reason, failed_node, is_whole } = end;
        let (prompt, fed) = known;
        let id = session.id;
        for stage in &session.stages {
            self.send_peer(stage.node, PeerFrame::End { session: id });
        }
        let reason = clip_reason(reason);
        self.say_to_server(&ToServer::EndSession { session: id, reason, failed_node });
        let settled = now + if is_whole { RECEIPTS_GRACE } else { BROKEN_GRACE };
        let ended =
            Ended { session, prompt, fed, settled, is_settling: true, until: now + RECEIPTS_GRACE };
        self.asking.ended.insert(id, ended);
    }

    /// Asks stages whether they are there where no token comes, and goes on without those that do
    /// not say so.
    fn look_after_stages(&mut self, now: Duration) {
        let (mut pings, mut gone) = (Vec::new(), Vec::new());
        for asking in self.asking.asks.values_mut() {
            let Phase::Running(running) = &mut asking.phase else { continue };
            let id = running.session.id;
            match &running.unanswered {
                Some((unanswered, until)) if now >= *until => {
                    gone.extend(unanswered.first().map(|stage| (id, *stage)));
                    // Of several that are gone the server may know, or the next look finds out. If
                    // all are there, they are slow.
                    (running.unanswered, running.probe_at) = (None, Some(now + PROBE_AFTER));
                }
                None if running.probe_at.is_some_and(|at| now >= at) => {
                    let others = running.session.stages.iter().map(|stage| stage.node);
                    let stages: Vec<NodeId> = others.filter(|stage| *stage != self.me).collect();
                    pings.extend(stages.iter().map(|stage| (id, *stage)));
                    running.unanswered = Some((stages, now + PONG_TIMEOUT));
                }
                _ => {}
            }
        }
        for (session, stage) in pings {
            self.send_peer(stage, PeerFrame::Ping { session });
        }
        for (session, stage) in gone {
            let reason = format!("{} does not answer any more", stage.name());
            self.resume_ask_of(session, &reason, Some(stage), now);
        }
    }

    pub(super) fn asking_tick(&mut self, now: Duration) {
        self.look_after_stages(now);
        let late: Vec<SessionId> = self
            .asking
            .running()
            .filter(|running| now >= running.deadline)
            .map(|r| r.session.id)
            .collect();
        for id in late {
            self.resume_ask_of(
                id,
                &format!("no token came for {} s", STEP_TIMEOUT.as_secs()),
                None,
                now,
            );
        }
        for ended in self.asking.ended.values_mut() {
            ended.is_settling &= now < ended.settled;
        }
        let over: Vec<SessionId> = self
            .asking
            .ended
            .iter()
            .filter(|(_, ended)| now >= ended.until)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.asking.ended.remove(&id);
            self.asking.signed_to.retain(|(session, _), _| *session != id);
        }
    }

    /// True while an answer runs, or its last receipts may still come: a program that asks stays
    /// until then.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        let unsigned = |ended: &Ended| {
            ended.is_settling
                && ended.session.stages.iter().any(|stage| {
                    let key = (ended.session.id, stage.node);
                    self.asking.signed_to.get(&key).copied().unwrap_or(0) < ended.fed
                })
        };
        !self.asking.asks.is_empty() || self.asking.ended.values().any(unsigned)
    }
}

fn sampling_fault(ask: &Ask) -> Option<String> {
    match ask.sampling.temperature_milli {
        Some(milli)
            if milli != 0 && !(MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI).contains(&milli) =>
        {
            Some(format!(
                "the temperature is {}; use 0, or {} to {}",
                f64::from(milli) / 1000.0,
                f64::from(MIN_TEMPERATURE_MILLI) / 1000.0,
                f64::from(MAX_TEMPERATURE_MILLI) / 1000.0
            ))
        }
        _ => match ask.sampling.top_p_milli {
            Some(milli) if !(1..=1000).contains(&milli) => {
                Some("top-p must be above 0 and at most 1".to_owned())
            }
            _ => None,
        },
    }
}
