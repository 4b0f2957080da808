//! Nobody takes more of a stage than its share: rows, bytes before their time, sessions, work that
//! is not signed for. Everybody else goes on, and to the same token.

mod harness;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::executor::block_on;
use harness::{Delivery, Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_protocol::codec::{INITIAL_WINDOW_ROWS, MAX_ROWS, MAX_SESSIONS_PER_REQUESTER, encode};
use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::page::{AnswerEvent, SamplingChoice};
use potluck_protocol::peer::{Channel, PeerFrame};
use potluck_protocol::server::{FromServer, Session, Stage};
use potluck_worker::local::{Model, Question};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

/// The longest that fits the model with some tokens of an answer: four steps.
fn long_prompt() -> String {
    "tell me a story about a fox and a lantern. ".repeat(44)
}

/// What one machine answers.
#[expect(clippy::unwrap_used, reason = "test code")]
fn expected(prompt: &str, seed: u64, max_tokens: u32) -> Vec<u32> {
    let model = Model::open(package().path(), "potluck-tiny").unwrap();
    let sampling = SamplingChoice { seed, ..SamplingChoice::default() };
    let question = Question {
        conversation: &Conversation::question(prompt),
        asked_at: LocalTime::default(),
        sampling,
        max_tokens: Some(max_tokens),
    };
    block_on(model.answer(BackendChoice::Scalar, &question)).unwrap().token_ids
}

/// Rows of a step.
fn rows_of(frame: &PeerFrame) -> Option<(SessionId, u32)> {
    match frame {
        PeerFrame::Step { session, tokens, .. } => {
            Some((*session, u32::try_from(tokens.len()).unwrap_or(u32::MAX)))
        }
        PeerFrame::Hidden { session, rows, .. } => Some((*session, *rows)),
        _ => None,
    }
}

#[test]
fn a_long_prompt_has_no_more_than_a_window_of_rows_anywhere() {
    let (long_answer, short_answer) = (expected(&long_prompt(), 3, 8), expected(PROMPT, 1, 30));
    for seed in 1..=3 {
        let (mut swarm, ids) = Swarm::seeded(seed, 5, &[(0, 2), (2, 4), (4, 6)]);
        let (long, short) = (ids[3], ids[4]);
        swarm.ask(long, &long_prompt(), 3, 8);
        swarm.ask(short, PROMPT, 1, 30);
        let mut outstanding: HashMap<(SessionId, NodeId), u32> = HashMap::new();
        let (mut windows, mut most, mut tokens_meanwhile) = (0, 0, 0);
        let mut is_long_prompt_over = false;
        swarm.settle_with(|_, to, delivery| {
            let Delivery::Peer { from, frame } = delivery else { return true };
            if let Some((session, rows)) = rows_of(frame) {
                let here = outstanding.entry((session, to)).or_default();
                *here += rows;
                most = most.max(*here);
            }
            match frame {
                PeerFrame::Window { session, rows } => {
                    windows += 1;
                    *outstanding.entry((*session, *from)).or_default() -= *rows;
                }
                PeerFrame::Token { .. } if to == long => is_long_prompt_over = true,
                PeerFrame::Token { .. } if !is_long_prompt_over => tokens_meanwhile += 1,
                _ => {}
            }
            true
        });
        assert_eq!(most, INITIAL_WINDOW_ROWS, "the window is used, and kept to; seed {seed}");
        assert!(windows >= 6, "{windows} times room was given");
        assert!(tokens_meanwhile > 0, "the short answer went on beside it");
        assert_eq!(swarm.tokens(long), long_answer);
        assert_eq!(swarm.tokens(short), short_answer);
        assert_eq!(swarm.breaks(long).len() + swarm.breaks(short).len(), 0);
    }
}

#[test]
fn a_stage_that_has_no_room_holds_its_own_session_back_and_no_other() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 3), (3, 6)]);
    let (long, short) = (ids[2], ids[3]);
    swarm.ask(long, &long_prompt(), 3, 8);
    let mut held = Vec::new();
    let mut hidden_rows = 0;
    swarm.settle_with(|_, to, delivery| {
        let Delivery::Peer { from, frame } = delivery else { return true };
        match frame {
            PeerFrame::Hidden { rows, .. } => hidden_rows += *rows,
            // The second stage gives no room to the first.
            PeerFrame::Window { .. } if to == ids[0] => {
                held.push((*from, frame.clone()));
                return false;
            }
            _ => {}
        }
        true
    });
    assert_eq!(hidden_rows, INITIAL_WINDOW_ROWS, "the first stage keeps the rest");
    swarm.ask(short, PROMPT, 1, 30);
    swarm.settle();
    assert_eq!(swarm.tokens(short), expected(PROMPT, 1, 30));
    assert_eq!(swarm.tokens(long), Vec::<u32>::new());
    for (from, frame) in held {
        swarm.peer_says(ids[0], from, frame);
    }
    swarm.settle();
    assert_eq!(swarm.tokens(long), expected(&long_prompt(), 3, 8));
}

/// Two requesters ask; what the first does when it has its third token is not lawful. The second
/// one's answer goes on, in the one session that it began in.
fn with_a_hostile_requester(
    act: impl Fn(&mut Swarm, NodeId, NodeId, SessionId, u32),
) -> (Swarm, Vec<NodeId>) {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 3), (3, 6)]);
    let (hostile, honest) = (ids[2], ids[3]);
    swarm.ask(hostile, PROMPT, 1, 40);
    swarm.ask(honest, PROMPT, 2, 40);
    let mut tokens = 0;
    swarm.settle_with(|swarm, to, delivery| {
        if let Delivery::Peer { frame: PeerFrame::Token { session, position, .. }, .. } = delivery
            && to == hostile
        {
            tokens += 1;
            if tokens == 3 {
                act(swarm, hostile, ids[0], *session, *position);
                return false;
            }
        }
        true
    });
    assert!(tokens >= 3);
    assert_eq!(swarm.tokens(honest), expected(PROMPT, 2, 40));
    assert_eq!(swarm.breaks(honest), Vec::<String>::new());
    (swarm, ids)
}

#[test]
fn a_sender_that_does_not_mind_its_window_is_not_listened_to_any_more() {
    let flood = |swarm: &mut Swarm, hostile, first, session, position: u32| {
        let rows = u32::try_from(MAX_ROWS).unwrap_or(u32::MAX);
        // All in one moment: nothing of it can have left the stage when the last one comes.
        for part in 0..3 {
            let position = position + part * rows;
            let tokens = vec![1; MAX_ROWS];
            let step = PeerFrame::Step { session, position, tokens, sampling: None };
            swarm.peer_says(first, hostile, step);
        }
    };
    let (swarm, ids) = with_a_hostile_requester(flood);
    assert!(swarm.closed.contains(&(ids[0], ids[2])), "{:?}", swarm.closed);
    assert!(swarm.ended_with("more rows than there was room for"), "{:?}", swarm.server.ended);
}

#[test]
fn room_that_nobody_took_is_not_given_and_nor_is_any_in_a_strangers_session() {
    let too_much = |swarm: &mut Swarm, hostile, first, session, _| {
        swarm.send_frame(hostile, first, &PeerFrame::Window { session, rows: 1 });
    };
    let (swarm, ids) = with_a_hostile_requester(too_much);
    assert!(swarm.closed.contains(&(ids[0], ids[2])), "it is not the next stage");
    assert!(swarm.ended_with("room in a session that it is not in"), "{:?}", swarm.server.ended);

    // The same from the stage that may give room.
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 1, 40);
    let mut is_sent = false;
    swarm.settle_with(|swarm, _, delivery| {
        if let Delivery::Peer { frame: PeerFrame::Token { session, .. }, .. } = delivery
            && !is_sent
        {
            is_sent = true;
            let window = PeerFrame::Window { session: *session, rows: 30_000 };
            swarm.send_frame(ids[1], ids[0], &window);
        }
        true
    });
    assert!(swarm.closed.contains(&(ids[0], ids[1])), "{:?}", swarm.closed);
    assert!(swarm.ended_with("room for 30000 rows"), "{:?}", swarm.server.ended);
}

/// A frame of hidden rows whose values are none: whoever decodes them says that it is unreadable.
fn without_values(session: SessionId, position: u32, rows: u32, values: u32) -> Vec<u8> {
    let frame = PeerFrame::Hidden { session, position, rows, values: vec![0; 1], sampling: None };
    let mut bytes = encode(&frame);
    bytes.truncate(bytes.len() - 3); // the number of values, one value, no sampling
    let mut rest = values;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap_or(0));
    bytes.extend([0xff; 600]);
    bytes
}

#[test]
fn the_shape_of_rows_is_looked_at_before_their_values() {
    let width = package().manifest.config.d_model;
    for (values, said) in [(width - 1, "rows of the wrong shape"), (width, "something unreadable")]
    {
        let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
        swarm.ask(ids[2], PROMPT, 1, 40);
        let mut is_sent = false;
        swarm.settle_with(|swarm, _, delivery| {
            let Delivery::Peer { frame: PeerFrame::Hidden { session, position, .. }, .. } =
                delivery
            else {
                return true;
            };
            if *position > 0 && !is_sent {
                is_sent = true;
                let bytes = without_values(*session, *position, 1, values);
                swarm.send_bytes(ids[0], ids[1], Channel::Activations, bytes);
                return false;
            }
            true
        });
        assert!(is_sent && swarm.closed.contains(&(ids[1], ids[0])));
        assert!(swarm.ended_with(said), "{said}: {:?}", swarm.server.ended);
        assert_eq!(swarm.tokens(ids[2]), expected(PROMPT, 1, 40));
    }
}

/// Lawfully connected, it sends all it can of sessions that there are not.
#[test]
fn frames_before_their_time_take_no_more_than_their_senders_share() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 3), (3, 6)]);
    let (hostile, honest, first) = (ids[2], ids[3], ids[0]);
    for requester in [hostile, honest] {
        swarm.ask(requester, PROMPT, 2, 5);
        swarm.settle();
    }
    for number in 0..200 {
        let bytes = without_values(SessionId([number; 16]), 0, 128, 100_000);
        let frame = [bytes, vec![0xff; 200_000]].concat();
        swarm.send_bytes(hostile, first, Channel::Activations, frame);
    }
    swarm.settle();
    assert!(swarm.are_connected(hostile, first), "none of it was decoded: it is no frame at all");
    // The steps of the next question overtake the server's message about it.
    swarm.notices.clear();
    swarm.ask(honest, PROMPT, 2, 40);
    let mut held = None;
    swarm.settle_with(|_, to, delivery| {
        let Delivery::Server(message @ FromServer::Serve { .. }) = delivery else { return true };
        if to == first {
            held = Some(message.clone());
        }
        to != first
    });
    assert_eq!(swarm.tokens(honest), Vec::<u32>::new());
    swarm.server_says(first, held.unwrap_or(FromServer::Heartbeat));
    swarm.settle();
    assert_eq!(swarm.tokens(honest), expected(PROMPT, 2, 40));
    assert_eq!(swarm.breaks(honest), Vec::<String>::new(), "they were kept for it");
}

/// The same sender's own session, of which too much came too early, fails as a whole; its
/// connection, and other sessions over it, stay.
#[test]
fn a_session_whose_first_frames_were_dropped_ends_alone() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
    swarm.ask(ids[2], PROMPT, 2, 5);
    swarm.settle();
    swarm.notices.clear();
    swarm.ask(ids[2], PROMPT, 2, 40);
    let mut is_flooded = false;
    let mut held = None;
    swarm.settle_with(|swarm, to, delivery| {
        if let Delivery::Server(message @ FromServer::Serve { .. }) = delivery
            && to == ids[0]
            && held.is_none()
        {
            held = Some(message.clone());
            return false;
        }
        if let Delivery::Peer { frame: PeerFrame::Step { session, .. }, .. } = delivery
            && to == ids[0]
            && !is_flooded
        {
            is_flooded = true;
            for position in 1..200 {
                let step = PeerFrame::Step {
                    session: *session,
                    position,
                    tokens: vec![1],
                    sampling: None,
                };
                swarm.send_frame(ids[2], ids[0], &step);
            }
        }
        true
    });
    swarm.server_says(ids[0], held.unwrap_or(FromServer::Heartbeat));
    swarm.settle();
    assert!(swarm.ended_with("could not be kept"), "{:?}", swarm.server.ended);
    assert_eq!(swarm.closed, [], "no connection was closed");
    assert_eq!(swarm.tokens(ids[2]), expected(PROMPT, 2, 40), "in another session");
}

#[test]
fn a_ninth_session_of_one_requester_is_refused_with_a_sentence() {
    let (mut swarm, ids) = Swarm::new(3, &[(0, 6)]);
    let (stage, requester, other) = (ids[0], ids[1], ids[2]);
    let serve = |swarm: &mut Swarm, number: u8, requester| {
        let mut session = Session {
            id: SessionId([number; 16]),
            model: package().model,
            requester,
            stages: vec![Stage { node: stage, layers: LayerRange { first: 0, end: 6 } }],
            epochs: Vec::new(),
            continues: None,
        };
        session.epochs = vec![potluck_protocol::id::Epoch(0); 2];
        let ticket =
            swarm.server.authority.ticket(&session, &session.stages[0], true, Duration::ZERO);
        let ticket = Box::new(ticket);
        swarm.server_says(stage, FromServer::Serve { session, ticket });
        swarm.settle();
    };
    let allowed = u8::try_from(MAX_SESSIONS_PER_REQUESTER).unwrap_or(u8::MAX);
    for number in 1..=allowed {
        serve(&mut swarm, number, requester);
    }
    assert_eq!(swarm.server.ended, [], "so many are served");
    serve(&mut swarm, allowed + 1, requester);
    let said = format!("{} has 8 sessions there already", requester.name());
    assert!(swarm.ended_with(&said), "{:?}", swarm.server.ended);
    serve(&mut swarm, allowed + 2, other);
    assert_eq!(swarm.server.ended.len(), 1, "somebody else's is");
}

#[test]
fn nobody_computes_for_a_requester_that_does_not_sign() {
    let (mut swarm, ids) = Swarm::new(4, &[(0, 3), (3, 6)]);
    let (hostile, honest) = (ids[2], ids[3]);
    // Its answer has 152 tokens.
    let prompt = "tell me a story about a fox and a lantern. ".repeat(30);
    swarm.ask(hostile, &prompt, 7, 400);
    swarm.ask(honest, PROMPT, 2, 400);
    let mut rows: HashMap<SessionId, u32> = HashMap::new();
    let mut first = None;
    swarm.settle_with(|_, to, delivery| {
        let Delivery::Peer { from, frame } = delivery else { return true };
        if let Some((session, count)) = rows_of(frame)
            && (*from, to) == (hostile, ids[0])
        {
            first.get_or_insert(session);
            *rows.entry(session).or_default() += count;
        }
        !(matches!(frame, PeerFrame::ReceiptSigned { .. }) && *from == hostile)
    });
    let said = format!("{} does not sign for the work", hostile.name());
    assert!(swarm.ended_with(&said), "{:?}", swarm.server.ended);
    let prompt_rows = swarm.answer_events(hostile).into_iter().find_map(|event| match event {
        AnswerEvent::Route { prompt_tokens, .. } => Some(prompt_tokens),
        _ => None,
    });
    // The prompt, the step that says that its token came back, and two more receipts' worth; what
    // the requester has fed before it hears that it is over.
    let least = prompt_rows.unwrap_or(0) + 1 + 128;
    let fed = first.map_or(0, |session| rows[&session]);
    assert!((least..least + 4).contains(&fed), "{fed} rows for nothing, {least} at least");
    let credited: HashSet<NodeId> =
        swarm.server.receipts.iter().map(|signed| signed.receipt.requester).collect();
    assert_eq!(credited, HashSet::from([honest]));
    assert_eq!(swarm.tokens(honest), expected(PROMPT, 2, 400));
    assert_eq!(swarm.breaks(honest), Vec::<String>::new());
}
