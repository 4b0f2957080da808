use std::net::{IpAddr, Ipv4Addr};

use potluck_protocol::identity::Identity;
use potluck_protocol::site::{SignedTask, Task, TaskAnswer, TaskText};
use tempfile::TempDir;

use super::*;

pub(super) const SERVER: &str = "https://potluck.example";
pub(super) const ORIGIN: &str = "https://recipes.example";

pub(super) struct Desk {
    pub(super) sites: Arc<Sites>,
    folder: TempDir,
    nonces: Mutex<u32>,
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::with(WidgetOptions::default(), TempDir::new().unwrap()).await
    }

    async fn with(options: WidgetOptions, folder: TempDir) -> Self {
        let store = Store::open(folder.path()).await.unwrap();
        let sites = Sites::open(store, options).await.unwrap();
        Self { sites, folder, nonces: Mutex::default() }
    }

    /// The same data under other options.
    pub(super) async fn reopened(self, options: WidgetOptions) -> Self {
        self.sites.flush().await.unwrap();
        self.sites.store.close().await;
        Self::with(options, self.folder).await
    }

    pub(super) fn text(&self, task: Task) -> TaskText {
        let mut nonce = self.nonces.lock().unwrap();
        *nonce += 1;
        TaskText {
            to: SERVER.to_owned(),
            at_s: unix_now_s(),
            nonce: nonce.to_string(),
            task,
            account: None,
        }
    }

    pub(super) async fn send(&self, task: &SignedTask) -> Result<TaskAnswer, TaskError> {
        let is_own = |origin: &str| origin == SERVER;
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.sites.perform(Asked { task, is_own: &is_own, from }).await
    }

    pub(super) async fn perform(
        &self,
        owner: &Identity,
        task: Task,
    ) -> Result<TaskAnswer, TaskError> {
        self.send(&signed(owner, &self.text(task))).await
    }

    /// Registers a site, and takes it as proved.
    async fn proved(&self, owner: &Identity) -> SiteKey {
        let origins = vec![ORIGIN.to_owned()];
        let task = Task::Register { name: "Rosa's recipes".to_owned(), origins };
        // Those of one second have no order of their own.
        let sites = self.perform(owner, task).await.unwrap().sites;
        let key = sites.into_iter().find(|site| site.name == "Rosa's recipes").unwrap().key;
        let mut site = (*self.sites.registry().site(key).unwrap()).clone();
        site.origins[0].proved_s = Some(1);
        self.sites.store.put_site(&site).await.unwrap();
        self.sites.registry().put(site);
        key
    }
}

pub(super) fn signed(owner: &Identity, text: &TaskText) -> SignedTask {
    SignedTask::new(owner, serde_json::to_string(text).unwrap())
}

pub(super) fn owner(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

#[tokio::test]
async fn a_task_is_done_once_for_its_owner_at_this_server_now() {
    let desk = Desk::new().await;
    let (me, other) = (owner(1), owner(2));
    let key = desk.proved(&me).await;
    let switch = || Task::Switch { site: key, on: false };

    let task = signed(&me, &desk.text(Task::List));
    assert_eq!(desk.send(&task).await.unwrap().sites.len(), 1);
    assert!(matches!(desk.send(&task).await, Err(TaskError::Again)));
    let forged = SignedTask { owner: me.node(), ..signed(&other, &desk.text(switch())) };
    assert!(matches!(desk.send(&forged).await, Err(TaskError::Unsigned)));
    let text = TaskText { to: "https://evil.example".to_owned(), ..desk.text(switch()) };
    assert!(matches!(desk.send(&signed(&me, &text)).await, Err(TaskError::OtherServer(_))));
    for at_s in [0, unix_now_s() - 301, unix_now_s() + 600, u64::MAX] {
        let text = TaskText { at_s, ..desk.text(switch()) };
        assert!(matches!(desk.send(&signed(&me, &text)).await, Err(TaskError::Stale)), "{at_s}");
    }
    let nonsense = SignedTask::new(&me, "[]".to_owned());
    assert!(matches!(desk.send(&nonsense).await, Err(TaskError::Unsigned)));
    assert!(matches!(desk.perform(&other, switch()).await, Err(TaskError::NotYours)));
    assert!(desk.perform(&other, Task::List).await.unwrap().sites.is_empty());
    assert_eq!(desk.sites.standing(key).1, Ok(()), "nothing of this changed anything");
}

#[tokio::test]
async fn hostile_names_and_origins_are_refused_or_made_harmless() {
    let desk = Desk::new().await;
    let me = owner(1);
    let register = |name: &str, origins: &[&str]| {
        let origins = origins.iter().map(ToString::to_string).collect();
        desk.perform(&me, Task::Register { name: name.to_owned(), origins })
    };
    assert!(matches!(register("\u{202e} \u{200b}\n", &[ORIGIN]).await, Err(TaskError::NoName)));
    for origins in [&[][..], &[ORIGIN, ORIGIN], &[ORIGIN; 9]] {
        assert!(matches!(register("a", origins).await, Err(TaskError::Origins)));
    }
    for origin in ["http://recipes.example", "https://a;script-src *", "*", "javascript:1", "null"]
    {
        assert!(matches!(register("a", &[origin]).await, Err(TaskError::Origin(_))), "{origin}");
    }
    let answer = register("<script>\u{202e}evil", &[ORIGIN]).await.unwrap();
    assert_eq!(answer.sites[0].name, "<script>evil", "a text, and shown as one");
    assert_eq!(answer.sites[0].origins[0].origin, ORIGIN);
    assert!(!answer.sites[0].origins[0].proved);
}

#[tokio::test]
async fn a_site_runs_when_it_is_proved_and_until_anybody_says_no() {
    let desk = Desk::new().await;
    let me = owner(1);
    assert_eq!(desk.sites.standing(SiteKey([9; 16])).1, Err(WhyNot::Unknown));
    let task = Task::Register { name: "New".to_owned(), origins: vec![ORIGIN.to_owned()] };
    let new = desk.perform(&me, task).await.unwrap().sites[0].key;
    assert_eq!(desk.sites.standing(new).1, Err(WhyNot::Unproved("New".to_owned())));
    assert!(desk.sites.visit(new).is_err());
    let key = desk.proved(&me).await;
    let published: Vec<_> =
        desk.sites.published().await.unwrap().into_iter().map(|site| site.key).collect();
    assert_eq!(published, [key], "those that run, and no others");

    let mut visit = desk.sites.visit(key).unwrap();
    let (switched, why) =
        tokio::join!(desk.perform(&me, Task::Switch { site: key, on: false }), visit.forbidden(),);
    let sites = switched.unwrap().sites;
    let switched = sites.iter().find(|site| site.key == key).unwrap();
    assert_eq!(switched.why_not.as_deref(), Some("switched off by Rosa's recipes"));
    assert_eq!(why.to_string(), "switched off by Rosa's recipes");
    assert!(desk.sites.visit(key).is_err());
    assert!(desk.sites.published().await.unwrap().is_empty());

    // Off over a restart; the operator's word goes before the owner's.
    let desk = desk.reopened(WidgetOptions::default()).await;
    assert!(matches!(desk.sites.standing(key).1, Err(WhyNot::Off(_))));
    desk.perform(&me, Task::Switch { site: key, on: true }).await.unwrap();
    assert_eq!(desk.sites.standing(key).1, Ok(()));
    let blocked = WidgetOptions { blocked_sites: vec![key], ..WidgetOptions::default() };
    let desk = desk.reopened(blocked).await;
    assert_eq!(desk.sites.standing(key).1, Err(WhyNot::Blocked));
    let desk = desk.reopened(WidgetOptions { no_widgets: true, ..WidgetOptions::default() }).await;
    assert_eq!(desk.sites.standing(key).1, Err(WhyNot::NoWidgets));
    assert_eq!(desk.sites.standing(SiteKey([9; 16])).1, Err(WhyNot::NoWidgets));
    let task = Task::Register { name: "b".to_owned(), origins: vec![ORIGIN.to_owned()] };
    assert!(matches!(desk.perform(&me, task).await, Err(TaskError::NoWidgets)));
    let gone = desk.perform(&me, Task::Remove { site: key }).await.unwrap();
    assert!(gone.sites.iter().all(|site| site.key != key));
}

#[tokio::test]
async fn counts_are_kept_and_are_of_sites_that_run() {
    let desk = Desk::new().await;
    let me = owner(1);
    let key = desk.proved(&me).await;
    for what in
        [Counted::Shown, Counted::Shown, Counted::Accepted, Counted::Refused, Counted::Macs(7)]
    {
        desk.sites.count(key, what);
        desk.sites.count(SiteKey([9; 16]), what);
    }
    assert!(desk.sites.counts().take().iter().all(|(site, _)| *site == key));
    for _ in 0..2 {
        desk.sites.count(key, Counted::Shown);
        desk.sites.count(key, Counted::Macs(7));
        desk.sites.flush().await.unwrap();
    }
    let desk = desk.reopened(WidgetOptions::default()).await;
    let answer = desk.perform(&me, Task::List).await.unwrap();
    let [day] = answer.sites[0].days[..] else { panic!("one day: {answer:?}") };
    assert_eq!((day.shown, day.accepted, day.refused, day.macs), (2, 0, 0, 14));
    assert_eq!(desk.sites.published().await.unwrap()[0].macs, 14);
    desk.perform(&me, Task::Remove { site: key }).await.unwrap();
    desk.sites.counts().count(key, 0, Counted::Seconds(1));
    desk.sites.flush().await.unwrap();
    assert!(
        desk.sites.store.site_days(key).await.unwrap().is_empty(),
        "a removed site leaves nothing"
    );
}

#[tokio::test]
async fn one_address_has_so_many_tasks() {
    let desk = Desk::new().await;
    let me = owner(1);
    let key = desk.proved(&me).await;
    let mut done = 0;
    let refused = loop {
        match desk.perform(&me, Task::Switch { site: key, on: true }).await {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
        assert!(done < 1_000);
    };
    assert!(matches!(refused, TaskError::TooMany), "{refused:?}");
    assert!(done > 100);
}
