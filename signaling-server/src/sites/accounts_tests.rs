use std::net::{IpAddr, Ipv4Addr};

use potluck_protocol::identity::Identity;
use potluck_protocol::passkey::PasskeyAnswer;
use potluck_protocol::site::{Task, TaskAnswer, TaskText};

use super::super::passkey::tests::Device;
use super::super::tests::{Desk, ORIGIN, SERVER, owner, signed};
use super::*;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn is_own(origin: &str) -> bool {
    origin == SERVER
}

impl Desk {
    fn nonce(&self) -> [u8; 32] {
        bytes32(&self.sites.challenge(FROM).unwrap().nonce).unwrap()
    }

    async fn enter(&self, signer: &Identity, by: EntryBy) -> Result<Entered, TaskError> {
        self.sites.enter(&Entry { signer: signer.node(), by }, &is_own, FROM).await
    }

    async fn open(&self, signer: &Identity, device: &Device) -> Result<Entered, TaskError> {
        let new = device.make(self.nonce(), signer.node());
        self.enter(signer, EntryBy::New(new)).await
    }

    async fn come_back(
        &self,
        signer: &Identity,
        device: &Device,
        account: NodeId,
    ) -> Result<Entered, TaskError> {
        let answer = device.answer((self.nonce(), signer.node()), account, 0);
        self.enter(signer, EntryBy::Known(answer)).await
    }

    async fn perform_for(
        &self,
        signer: &Identity,
        account: NodeId,
        task: Task,
    ) -> Result<TaskAnswer, TaskError> {
        let text = TaskText { account: Some(account), ..self.text(task) };
        self.send(&signed(signer, &text)).await
    }
}

fn register() -> Task {
    Task::Register { name: "Rosa's recipes".to_owned(), origins: vec![ORIGIN.to_owned()] }
}

#[tokio::test]
async fn a_passkey_opens_an_account_and_comes_back_to_it_by_another_key() {
    let desk = Desk::new().await;
    let (device, morning, evening) = (Device::es256(1), owner(1), owner(2));
    let account = desk.open(&morning, &device).await.unwrap().account;
    assert_ne!(account, morning.node(), "the key of an hour owns nothing");
    let answer = desk.perform_for(&morning, account, register()).await.unwrap();
    assert_eq!(answer.account.unwrap().passkeys.len(), 1);

    // Over a restart nobody is in, and the key of before opens nothing of its own by mistake.
    let desk = desk.reopened(Default::default()).await;
    let out = desk.perform_for(&morning, account, Task::List).await;
    assert!(matches!(out, Err(TaskError::SignedOut)), "{out:?}");
    assert_eq!(desk.come_back(&evening, &device, account).await.unwrap().account, account);
    let answer = desk.perform_for(&evening, account, Task::List).await.unwrap();
    assert_eq!(answer.sites.len(), 1);
    let out = desk.perform_for(&owner(3), account, Task::List).await;
    assert!(matches!(out, Err(TaskError::SignedOut)));

    // Nobody else's passkey, nor the same one twice, nor one that nobody let in.
    let again = desk.open(&morning, &device).await;
    assert!(matches!(again, Err(TaskError::Passkey(PasskeyFault::Known))), "{again:?}");
    let stranger = desk.come_back(&morning, &Device::es256(2), account).await;
    assert!(matches!(stranger, Err(TaskError::Passkey(PasskeyFault::Unknown))));
    let forger = desk.come_back(&morning, &Device::es256(1), account).await;
    assert!(matches!(forger, Err(TaskError::Passkey(PasskeyFault::Signature))));
}

#[tokio::test]
async fn a_challenge_is_good_once_for_one_key_and_not_for_ever() {
    let desk = Desk::new().await;
    let (device, me, other) = (Device::es256(1), owner(1), owner(2));
    let account = desk.open(&me, &device).await.unwrap().account;
    let nonce = desk.nonce();
    let answer = device.answer((nonce, me.node()), account, 0);
    let challenge = |result: Result<Entered, TaskError>| {
        matches!(result, Err(TaskError::Passkey(PasskeyFault::Challenge)))
    };
    assert!(challenge(desk.enter(&other, EntryBy::Known(answer.clone())).await), "another's key");
    assert!(challenge(desk.enter(&me, EntryBy::Known(answer)).await), "that was its once");
    let unasked = device.answer(([9; 32], me.node()), account, 0);
    assert!(challenge(desk.enter(&me, EntryBy::Known(unasked)).await));
    let nonsense =
        PasskeyAnswer { nonce: "?".to_owned(), ..device.answer(([9; 32], me.node()), account, 0) };
    assert!(challenge(desk.enter(&me, EntryBy::Known(nonsense)).await));

    let mut accounts = Accounts::default();
    accounts.challenge([1; 32], 100).unwrap();
    accounts.challenge([2; 32], 100).unwrap();
    let text = |byte: u8| BASE64URL_NOPAD.encode(&[byte; 32]);
    assert_eq!(accounts.answered(&text(1), 100 + CHALLENGE_S - 1), Ok([1; 32]));
    assert_eq!(accounts.answered(&text(2), 100 + CHALLENGE_S), Err(PasskeyFault::Challenge));
    accounts.enter(me.node(), account, 100).unwrap();
    assert_eq!(accounts.account(me.node(), 99 + ENTRY_S), Some(account));
    assert_eq!(accounts.account(me.node(), 100 + ENTRY_S), None);
    for number in 0..MAX_CHALLENGES as u64 {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        accounts.challenge(nonce, 200).unwrap();
    }
    assert!(matches!(accounts.challenge([3; 32], 200), Err(TaskError::TooMany)));
    accounts.challenge([3; 32], 200 + CHALLENGE_S).unwrap();
}

#[tokio::test]
async fn a_file_takes_a_passkey_and_a_passkey_a_file() {
    let desk = Desk::new().await;
    let (file, hour, device) = (owner(1), owner(2), Device::es256(1));
    desk.perform(&file, register()).await.unwrap();
    let passkey = device.make(desk.nonce(), file.node());
    let answer = desk.perform(&file, Task::AddPasskey { passkey }).await.unwrap();
    assert_eq!(answer.account.unwrap().files, 1);
    let entered = desk.come_back(&hour, &device, file.node()).await.unwrap();
    assert_eq!(entered.account, file.node());
    let view = desk.perform_for(&hour, file.node(), Task::List).await.unwrap();
    assert_eq!(view.sites.len(), 1, "both see the same sites");
    // The file stays a way in, so that the passkey may go; whoever came in by it is out.
    let credential = view.account.unwrap().passkeys[0].credential.clone();
    desk.perform(&file, Task::RemovePasskey { credential }).await.unwrap();
    assert!(matches!(
        desk.perform_for(&hour, file.node(), Task::List).await,
        Err(TaskError::SignedOut)
    ));

    // The other way round.
    let (other, spare) = (Device::es256(2), owner(3));
    let account = desk.open(&hour, &other).await.unwrap().account;
    let only = desk.perform_for(&hour, account, Task::List).await.unwrap().account.unwrap();
    let credential = only.passkeys[0].credential.clone();
    let last = desk.perform_for(&hour, account, Task::RemovePasskey { credential }).await;
    assert!(matches!(last, Err(TaskError::Passkey(PasskeyFault::Last))), "{last:?}");
    let join =
        |key: &Identity, account: NodeId| Box::new(signed(key, &desk.text(Task::Join { account })));
    let add = |file| desk.perform_for(&hour, account, Task::AddFile { file });
    // A key with sites of its own, one that did not ask for it, one that asked for another account.
    assert!(matches!(add(join(&file, account)).await, Err(TaskError::Passkey(PasskeyFault::File))));
    let unasked = Box::new(signed(&spare, &desk.text(Task::List)));
    assert!(matches!(add(unasked).await, Err(TaskError::Unsigned)));
    assert!(matches!(
        add(join(&spare, file.node())).await,
        Err(TaskError::Passkey(PasskeyFault::File))
    ));
    let alone = desk.perform(&spare, Task::Join { account }).await;
    assert!(matches!(alone, Err(TaskError::Unsigned)), "not by itself");
    let view = add(join(&spare, account)).await.unwrap().account.unwrap();
    assert_eq!((view.files, view.passkeys.len()), (1, 1));
    desk.perform_for(&hour, account, register()).await.unwrap();
    assert_eq!(desk.perform(&spare, Task::List).await.unwrap().sites.len(), 1);
    assert!(matches!(
        add(join(&spare, account)).await,
        Err(TaskError::Passkey(PasskeyFault::File))
    ));
}

#[tokio::test]
async fn an_account_has_so_many_passkeys() {
    let desk = Desk::new().await;
    let me = owner(1);
    for name in 0..8 {
        let passkey = Device::es256(name).make(desk.nonce(), me.node());
        desk.perform(&me, Task::AddPasskey { passkey }).await.unwrap();
    }
    let passkey = Device::es256(8).make(desk.nonce(), me.node());
    let more = desk.perform(&me, Task::AddPasskey { passkey }).await;
    assert!(matches!(more, Err(TaskError::Passkey(PasskeyFault::Many))), "{more:?}");
}
