//! Hostile, forged, old and too many statements, by values.

use potluck_protocol::identity::Identity;
use potluck_protocol::people::OwnTeam;
use tempfile::TempDir;

use super::*;

const HERE: &str = "https://here.example";

async fn people(folder: &TempDir) -> People {
    People::open(Store::open(folder.path()).await.unwrap()).await.unwrap()
}

fn me() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn now_ms() -> u64 {
    unix_now_s() * 1_000
}

fn statement(at_ms: u64, says: Says) -> Statement {
    Statement { to: HERE.to_owned(), at_ms, says }
}

fn call(name: &str) -> Says {
    Says::Name { name: name.to_owned() }
}

async fn send(people: &People, signed: &SignedStatement) -> Result<PersonView, PeopleError> {
    let is_own = |origin: &str| origin == HERE;
    let from = IpAddr::from([127, 0, 0, 1]);
    people.hear(Heard { signed, is_own: &is_own, is_in_room: false, from }).await
}

/// As this key at this time.
async fn say(
    people: &People,
    who: &Identity,
    at_ms: u64,
    says: Says,
) -> Result<PersonView, PeopleError> {
    send(people, &SignedStatement::new(who, &statement(at_ms, says)).unwrap()).await
}

#[tokio::test]
async fn the_newest_name_counts_and_can_be_taken_back() {
    let folder = TempDir::new().unwrap();
    let people = people(&folder).await;
    let now = now_ms();
    let called = |person: Result<PersonView, PeopleError>| person.unwrap().called;
    assert_eq!(called(say(&people, &me(), now, Says::Look).await), None);
    let first = SignedStatement::new(&me(), &statement(now, call("Rosa"))).unwrap();
    assert_eq!(called(send(&people, &first).await).as_deref(), Some("Rosa"));
    assert_eq!(called(say(&people, &me(), now + 2, call("Luz")).await).as_deref(), Some("Luz"));
    // The first one again, and one that was signed in between.
    assert!(matches!(send(&people, &first).await, Err(PeopleError::Old)));
    let between = say(&people, &me(), now + 1, call("Eve")).await;
    assert!(matches!(between, Err(PeopleError::Old)), "{between:?}");
    assert_eq!(called(say(&people, &me(), now, Says::Look).await).as_deref(), Some("Luz"));
    assert_eq!(called(say(&people, &me(), now + 3, call("")).await), None);
    let other = Identity::from_seed(&[2; 32]);
    assert_eq!(called(say(&people, &other, now, call("Rosa")).await).as_deref(), Some("Rosa"));
}

#[tokio::test]
async fn what_is_forged_old_or_for_another_server_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let people = people(&folder).await;
    let now = now_ms();
    let signed = SignedStatement::new(&me(), &statement(now, call("Rosa"))).unwrap();
    let other = Identity::from_seed(&[2; 32]).node();
    let forged = [
        SignedStatement { node: other, ..signed.clone() },
        SignedStatement { text: signed.text.replace("Rosa", "Eve"), ..signed.clone() },
        SignedStatement { signature: "0".repeat(128), ..signed.clone() },
        SignedStatement { text: "{}".to_owned(), ..signed.clone() },
    ];
    for forged in forged {
        let answer = send(&people, &forged).await;
        assert!(matches!(answer, Err(PeopleError::Unsigned)), "{answer:?}");
    }
    let to = "https://here.example.evil".to_owned();
    let elsewhere = Statement { to, ..statement(now, call("Rosa")) };
    let elsewhere = send(&people, &SignedStatement::new(&me(), &elsewhere).unwrap()).await;
    assert!(matches!(elsewhere, Err(PeopleError::OtherServer(_))), "{elsewhere:?}");
    let late = 1_000 * (FRESH_S + 2);
    for at_ms in [0, now - late, now + late, u64::MAX] {
        let stale = say(&people, &me(), at_ms, call("Rosa")).await;
        assert!(matches!(stale, Err(PeopleError::Stale)), "{at_ms}: {stale:?}");
    }
    for name in ["\u{202e}asoR", "e\u{301}", " ", "x\u{335}\u{335}\u{335}\u{335}"] {
        let no_name = say(&people, &me(), now, call(name)).await;
        assert!(matches!(no_name, Err(PeopleError::Name(_))), "{name:?}: {no_name:?}");
    }
    let person = say(&people, &me(), now, Says::Look).await.unwrap();
    assert_eq!(person, PersonView { node: me().node(), called: None, team: None });
}

#[tokio::test]
async fn a_team_is_joined_by_its_id_and_left() {
    let folder = TempDir::new().unwrap();
    let people = people(&folder).await;
    let now = now_ms();
    let made = say(&people, &me(), now, Says::Make { name: "Bakers".to_owned() }).await.unwrap();
    let OwnTeam { id, name, members, credit_macs } = made.team.expect("its maker is in it");
    assert_eq!((name.as_str(), members, credit_macs), ("Bakers", 1, 0));
    let other = Identity::from_seed(&[2; 32]);
    let joined = say(&people, &other, now, Says::Join { team: id }).await.unwrap();
    assert_eq!(joined.team.map(|team| (team.id, team.members)), Some((id, 2)));
    let again = say(&people, &other, now + 1, Says::Join { team: id }).await.unwrap();
    assert_eq!(again.team.map(|team| team.members), Some(2), "in it already");
    let nowhere = say(&people, &other, now + 2, Says::Join { team: TeamId([9; 16]) }).await;
    assert!(matches!(nowhere, Err(PeopleError::NoTeam)), "{nowhere:?}");
    let left = say(&people, &me(), now + 3, Says::Leave).await.unwrap();
    assert_eq!(left.team, None);
    let stays = say(&people, &other, now + 3, Says::Look).await.unwrap();
    assert_eq!(stays.team.map(|team| team.members), Some(1), "what was refused changed nothing");
}

#[tokio::test]
async fn teams_and_strangers_are_bounded() {
    let folder = TempDir::new().unwrap();
    let people = people(&folder).await;
    let now = now_ms();
    let make = || Says::Make { name: "Bakers".to_owned() };
    for n in 0..u64::from(MAX_TEAMS_OF_MAKER) {
        say(&people, &me(), now + n, make()).await.unwrap();
    }
    let one_more = say(&people, &me(), now + 100, make()).await;
    assert!(matches!(one_more, Err(PeopleError::TooManyTeams)), "{one_more:?}");
    assert_eq!(people.newcomers.load(Ordering::Relaxed), 1, "a key counts once");
    people.newcomers.store(MAX_NEWCOMERS, Ordering::Relaxed);
    let stranger = say(&people, &Identity::from_seed(&[3; 32]), now, call("Eve")).await;
    assert!(matches!(stranger, Err(PeopleError::TooManyNewcomers)), "{stranger:?}");
    assert!(say(&people, &me(), now, Says::Look).await.is_ok());
    for _ in 0..limits::STATEMENTS_AN_HOUR {
        let _counted = say(&people, &me(), now, Says::Look).await;
    }
    let flood = say(&people, &me(), now, Says::Look).await;
    assert!(matches!(flood, Err(PeopleError::TooMany)), "{flood:?}");
}

#[tokio::test]
async fn teams_are_not_a_rooms() {
    let make = Says::Make { name: "Bakers".to_owned() };
    assert!(matches!(said(make.clone(), true), Err(PeopleError::InRoom)));
    assert!(matches!(said(Says::Join { team: TeamId([1; 16]) }, true), Err(PeopleError::InRoom)));
    assert!(matches!(said(make, false), Ok(Some(Said::Make(..)))));
    assert!(matches!(said(call("Rosa"), true), Ok(Some(Said::Name(Some(_))))));
    assert!(matches!(said(Says::Leave, true), Ok(Some(Said::Leave))));
}
