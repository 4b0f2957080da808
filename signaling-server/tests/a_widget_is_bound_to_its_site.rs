//! A site's widget is shown in pages of its own origins only, says why where it does not run, and what
//! its owner wrote stays text; a node that lends at a site is served as long as that site runs.

#[path = "support/http.rs"]
mod http;
mod support;

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{get, post};
use potluck_protocol::grant::Place;
use potluck_protocol::id::SiteKey;
use potluck_protocol::identity::Identity;
use potluck_protocol::server::FromServer;
use potluck_protocol::site::{OwnedSite, SignedTask, SiteView, Task, TaskAnswer, TaskText};
use support::{Member, Running};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const BROTLI: &str = "Accept-Encoding: br";
const EMBED: &str = "<style>p{}</style><p data-off=\"{{off}}\">{{server}} {{site}} {{model}} {{megabytes}} {{other}}</p>\
                     <script type=\"module\">ask()</script>";

async fn start(
    change: impl FnOnce(&mut potluck_server::config::Config),
) -> anyhow::Result<(Running, TempDir)> {
    let page = tempfile::tempdir()?;
    std::fs::write(page.path().join("embed.html"), EMBED)?;
    std::fs::write(page.path().join("embed.js"), "element()")?;
    std::fs::write(
        page.path().join("sites.html"),
        "<script type=\"module\" src=\"./sites.js\"></script>",
    )?;
    let folder = page.path().to_owned();
    let server = Running::start_with(|config| {
        config.page_dir = Some(folder);
        config.widgets.allow_private_sites = true;
        change(config);
    })
    .await?;
    Ok((server, page))
}

/// A site that answers everything with what it carries.
struct Carrier {
    origin: String,
    text: Arc<Mutex<String>>,
}

impl Carrier {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let text: Arc<Mutex<String>> = Arc::default();
        let carried = Arc::clone(&text);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let text = carried.lock().expect("no test panics with it").clone();
                let length = text.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self { origin, text })
    }

    fn carry(&self, key: SiteKey) {
        *self.text.lock().expect("no test panics with it") = key.to_string();
    }
}

async fn perform(server: &Running, owner: &Identity, task: Task) -> anyhow::Result<TaskAnswer> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (to, nonce) = (server.origin(), now.as_nanos().to_string());
    let text =
        serde_json::to_string(&TaskText { to, at_s: now.as_secs(), nonce, task, account: None })?;
    let body = serde_json::to_string(&SignedTask::new(owner, text))?;
    let reply = post(server.address, "/api/v1/sites/tasks", &[], &body).await?;
    anyhow::ensure!(reply.status == 200, "{}: {}", reply.status, reply.text());
    Ok(serde_json::from_str(&reply.text())?)
}

/// Registers a site at `carrier`, which then carries its key, and at `others`; the site when it was
/// checked.
async fn register(
    server: &Running,
    owner: &Identity,
    name: &str,
    carrier: &Carrier,
    others: &[&Carrier],
) -> anyhow::Result<OwnedSite> {
    let origins = others.iter().chain([&carrier]).map(|it| it.origin.clone()).collect();
    let task = Task::Register { name: name.to_owned(), origins };
    let key = perform(server, owner, task).await?.sites.pop().expect("it is listed").key;
    carrier.carry(key);
    let mut answer = perform(server, owner, Task::Check { site: key }).await?;
    anyhow::ensure!(answer.faults.len() == others.len(), "{:?}", answer.faults);
    Ok(answer.sites.pop().expect("it is listed still"))
}

#[tokio::test]
async fn the_frame_is_shown_where_the_key_was_found_and_says_why_not() -> anyhow::Result<()> {
    let (server, _page) = start(|_| {}).await?;
    let owner = Identity::from_seed(&[1; 32]);
    let (carrier, other) = (Carrier::start().await?, Carrier::start().await?);
    let name = "<img src=x onerror=\"alert('1')\">{{off}}";
    let site = register(&server, &owner, name, &carrier, &[&other]).await?;
    let carries = carrier.origin;
    let proved: Vec<_> = site.origins.iter().map(|it| (it.origin.as_str(), it.proved)).collect();
    assert!(
        proved.contains(&(&*carries, true)) && proved.contains(&(&*other.origin, false)),
        "{proved:?}"
    );
    assert_eq!(site.why_not, None);

    let path = format!("/embed.html?site={}", site.key);
    let frame = get(server.address, &path, &[]).await?;
    let policy = frame.header("content-security-policy").unwrap_or_default().to_owned();
    assert!(policy.ends_with(&format!("frame-ancestors 'self' {carries}")), "{policy}");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    assert_eq!(frame.header("cache-control"), Some("no-store"));
    assert_eq!(frame.header("set-cookie"), None);
    let text = frame.text();
    assert!(
        text.contains("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;{{off}}"),
        "{text}"
    );
    assert!(
        text.contains("data-off=\"\"")
            && text.contains("potluck-tiny")
            && text.contains("{{other}}"),
        "{text}"
    );
    let compressed = get(server.address, &path, &[BROTLI]).await?;
    assert_eq!(compressed.header("content-encoding"), Some("br"));
    assert!(compressed.body.len() < frame.body.len());

    for (unknown, why) in [
        ("/embed.html".to_owned(), "this server knows no site of this key"),
        (format!("/embed.html?site={}", SiteKey([9; 16])), "this server knows no site of this key"),
        ("/embed.html?site=%22%3E%3Cscript%3E".to_owned(), "this server knows no site of this key"),
        (format!("/embed.html?site={}", "f".repeat(4000)), "this server knows no site of this key"),
    ] {
        let frame = get(server.address, &unknown, &[]).await?;
        assert_eq!(frame.status, 200, "{unknown}");
        assert!(
            frame.text().contains(why) && !frame.text().contains("<script>\""),
            "{}",
            frame.text()
        );
    }
    let script = get(server.address, "/embed.js", &[]).await?;
    assert_eq!(
        (script.text().as_str(), script.header("access-control-allow-origin")),
        ("element()", Some("*"))
    );
    let page = get(server.address, "/sites", &[]).await?;
    assert!(
        page.header("content-security-policy")
            .is_some_and(|it| it.contains("frame-ancestors 'none'"))
    );

    let listed: Vec<SiteView> =
        serde_json::from_str(&get(server.address, "/api/v1/sites", &[]).await?.text())?;
    assert_eq!((listed.len(), listed[0].key, &listed[0].origins), (1, site.key, &vec![carries]));
    Ok(())
}

#[tokio::test]
async fn a_node_at_a_site_is_served_while_the_site_runs() -> anyhow::Result<()> {
    let (server, _page) = start(|_| {}).await?;
    let owner = Identity::from_seed(&[1; 32]);
    let unknown = Place::Widget { site: SiteKey([9; 16]) };
    let mut stranger = Member::join(&server, 1).await?;
    stranger.send_register_at(unknown).await;
    let (why, again) = stranger.parting().await;
    assert_eq!((why.as_str(), again), ("this server knows no site of this key", None));

    let carrier = Carrier::start().await?;
    let site = register(&server, &owner, "Recipes", &carrier, &[]).await?.key;
    let mut node = Member::join(&server, 2).await?;
    node.send_register_at(Place::Widget { site }).await;
    node.load().await;
    let mut own = Member::join(&server, 3).await?;
    own.send_register().await;
    perform(&server, &owner, Task::Switch { site, on: false }).await?;
    let (why, again) = node.parting().await;
    assert_eq!((why.as_str(), again), ("switched off by Recipes", None));
    let mut late = Member::join(&server, 4).await?;
    late.send_register_at(Place::Widget { site }).await;
    assert_eq!(late.refusal().await, "switched off by Recipes");
    // Whoever lends on the swarm's own page has nothing to do with it.
    own.send(&potluck_protocol::server::ToServer::Heartbeat).await;
    while own.receive().await != FromServer::Heartbeat {}

    // A node that a site left behind can be lent on the page again.
    let mut back = Member::join(&server, 2).await?;
    back.send_register().await;
    back.load().await;
    Ok(())
}

#[tokio::test]
async fn an_answer_is_counted_for_the_widget_only() -> anyhow::Result<()> {
    let (server, _page) = start(|_| {}).await?;
    let owner = Identity::from_seed(&[1; 32]);
    let carrier = Carrier::start().await?;
    let site = register(&server, &owner, "Recipes", &carrier, &[]).await?.key;
    let own = format!("origin: {}", server.origin());
    let foreign = format!("origin: {}", carrier.origin);
    let answer = async |site: SiteKey, word: &str, origin: &str| {
        let path = format!("/api/v1/sites/{site}/{word}");
        post(server.address, &path, &[origin], "").await.map(|reply| reply.status)
    };
    assert_eq!(answer(site, "yes", &own).await?, 204);
    assert_eq!(answer(site, "no", &own).await?, 204);
    assert_eq!(answer(site, "perhaps", &own).await?, 400);
    assert_eq!(
        answer(site, "yes", &foreign).await?,
        400,
        "another site's visitors are not counted"
    );
    assert_eq!(answer(site, "yes", "origin: null").await?, 400);
    assert_eq!(answer(SiteKey([9; 16]), "yes", &own).await?, 204, "and nothing is kept of it");
    get(server.address, &format!("/embed.html?site={site}"), &[]).await?;
    let sites = perform(&server, &owner, Task::List).await?.sites;
    let [day] = sites[0].days[..] else { anyhow::bail!("one day: {sites:?}") };
    assert_eq!((day.shown, day.accepted, day.refused), (1, 1, 1));
    Ok(())
}

#[tokio::test]
async fn an_operator_who_wants_no_widgets_has_none() -> anyhow::Result<()> {
    let (server, _page) = start(|config| config.widgets.no_widgets = true).await?;
    let why = "this server&#39;s operator has switched widgets off";
    let path = format!("/embed.html?site={}", SiteKey([9; 16]));
    assert!(get(server.address, &path, &[]).await?.text().contains(why));
    let task =
        Task::Register { name: "a".to_owned(), origins: vec!["https://a.example".to_owned()] };
    let refused = perform(&server, &Identity::from_seed(&[1; 32]), task).await.unwrap_err();
    assert!(refused.to_string().contains("422"), "{refused}");
    let mut node = Member::join(&server, 1).await?;
    node.send_register_at(Place::Widget { site: SiteKey([9; 16]) }).await;
    assert!(node.refusal().await.contains("switched widgets off"));
    Ok(())
}
