//! How long an answer may be: said before anybody is asked where it cannot be, and the same in a swarm
//! as on one machine where the context is nearly full (F57).

mod harness;

use futures::executor::block_on;
use harness::{Swarm, package};
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::page::{AnswerEnd, AnswerEvent, SamplingChoice};
use potluck_worker::local::{Answer, LocalError, Model, Question};

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const SEED: u64 = 3;

/// Words that are so many tokens with what the template adds.
#[expect(clippy::unwrap_used, reason = "test code")]
fn prompt_of(tokens: usize) -> String {
    let blob = package().manifest.tokenizer.hash.to_string();
    let tokenizer = Tokenizer::from_bytes(&package().blob(&blob)).unwrap();
    let count = |prompt: &str| {
        let asked = Conversation::question(prompt);
        let chat = &package().manifest.chat;
        tokenizer.encode_chat(chat, &asked, LocalTime::default()).unwrap().len()
    };
    let mut prompt = "a".to_owned();
    while count(&prompt) < tokens {
        prompt.push_str(" a");
    }
    assert_eq!(count(&prompt), tokens);
    prompt
}

fn local(prompt: &str, max_tokens: Option<u32>) -> Result<Answer, LocalError> {
    let model = Model::open(package().path(), "potluck-tiny")?;
    let sampling = SamplingChoice { seed: SEED, ..SamplingChoice::default() };
    let question = Question {
        conversation: &Conversation::question(prompt),
        asked_at: LocalTime::default(),
        sampling,
        max_tokens,
    };
    block_on(model.answer(BackendChoice::Cpu, &question))
}

#[test]
fn a_context_is_used_to_its_end_and_not_beyond() {
    let context = package().manifest.config.max_positions as usize;
    for tokens in [context - 6, context - 2, context - 1] {
        let prompt = prompt_of(tokens);
        let alone = local(&prompt, Some(u32::MAX)).unwrap();
        let (mut swarm, ids) = Swarm::new(3, &[(0, 3), (3, 6)]);
        swarm.ask(ids[2], &prompt, SEED, u32::MAX);
        swarm.settle();
        assert_eq!(swarm.tokens(ids[2]), alone.token_ids, "{tokens} tokens");
        let last = swarm.answer_events(ids[2]).pop();
        let Some(AnswerEvent::Done { end, .. }) = last else { panic!("{last:?}") };
        assert_eq!(end, alone.end);
        if end == AnswerEnd::Length {
            assert_eq!(alone.token_ids.len(), context - tokens);
        }
        if tokens == context - 1 {
            assert_eq!((alone.token_ids.len(), end), (1, AnswerEnd::Length));
        }
    }
    for tokens in [context, context + 1] {
        let prompt = prompt_of(tokens);
        let (mut swarm, ids) = Swarm::new(3, &[(0, 6)]);
        swarm.ask(ids[2], &prompt, SEED, 5);
        swarm.settle();
        let said = format!("the question has {tokens} tokens");
        let failure = swarm.failure(ids[2]).unwrap_or_default();
        assert!(failure.contains(&said) && failure.contains(&context.to_string()), "{failure}");
        assert_eq!(swarm.running_session(), None, "nothing was sent");
        let refused = local(&prompt, Some(5)).unwrap_err().to_string();
        assert!(refused.contains(&said), "{refused}");
    }
}

#[test]
fn a_limit_cuts_off_and_says_so_and_none_at_all_is_no_answer() {
    let whole = local(PROMPT, None).unwrap();
    assert_eq!(whole.end, AnswerEnd::Stop);
    let (mut swarm, ids) = Swarm::new(2, &[(0, 6)]);
    for (limit, expected) in
        [(1, AnswerEnd::Length), (7, AnswerEnd::Length), (u32::MAX, AnswerEnd::Stop)]
    {
        let count = whole.token_ids.len().min(limit as usize);
        let alone = local(PROMPT, Some(limit)).unwrap();
        assert_eq!((&alone.token_ids[..], alone.end), (&whole.token_ids[..count], expected));
        swarm.notices.clear();
        swarm.ask(ids[1], PROMPT, SEED, limit);
        swarm.settle();
        assert_eq!(swarm.tokens(ids[1]), alone.token_ids);
        let last = swarm.answer_events(ids[1]).pop();
        assert!(matches!(last, Some(AnswerEvent::Done { end, .. }) if end == expected), "{last:?}");
    }
    let sessions = swarm.server.sessions.len();
    swarm.notices.clear();
    swarm.ask(ids[1], PROMPT, SEED, 0);
    swarm.settle();
    let failure = swarm.failure(ids[1]).unwrap_or_default();
    assert!(failure.contains("ask for at least 1"), "{failure}");
    assert_eq!(swarm.server.sessions.len(), sessions, "nothing was sent");
    assert!(matches!(local(PROMPT, Some(0)), Err(LocalError::NoTokens)));
}
