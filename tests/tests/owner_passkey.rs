//! A site owner's account by a passkey, in a browser with an authenticator: nothing is typed, nothing is
//! kept in the browser, a recovery file is added, and the passkey can be let in no more. In English and
//! in Chinese.

use e2e::browser::{Graphics, is_available};
use e2e::embed::PRIVATE_SITES;
use e2e::swarm::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn owner_passkey() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page_and("owner_passkey", &[PRIVATE_SITES]).await?;
    let artifacts = swarm.artifacts().to_owned();
    let port = swarm.server.port();
    // By a name: an address of numbers has no passkeys, and the page says so.
    let page = format!("http://localhost:{port}/sites");
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(900, 1000, false).await?;
    browser.add_authenticator().await?;
    browser.open(&format!("http://127.0.0.1:{port}/sites")).await?;
    browser.click("make-passkey").await?;
    browser.wait_for_text("notice", |text| text.contains("from a name")).await?;

    // A new account, and a site in it.
    browser.open(&page).await?;
    browser.wait_for_text("key-text", |text| text.contains("no password")).await?;
    browser.click("make-passkey").await?;
    browser.wait_for_text("key-text", |text| text.contains("by your passkey")).await?;
    browser.write("name", "Rosa's recipes").await?;
    browser.write("origins", "http://localhost:1").await?;
    browser.click("register").await?;
    browser.wait_for_text("site-state", |text| text.contains("has not been proved")).await?;
    browser.screenshot(&artifacts.join("passkey.png")).await?;
    let kept = "return Object.keys(localStorage).length + document.cookie.length";
    assert_eq!(browser.read(kept, &[]).await?, 0, "nobody finds a key in this browser");

    // Who comes back shows the passkey, and sees the site again.
    browser.open(&page).await?;
    browser.wait_for_text("key-text", |text| text.contains("no password")).await?;
    browser.click("use-passkey").await?;
    browser.wait_for_text("site", |text| text.contains("Rosa's recipes")).await?;
    browser.wait_for_text("passkey", |text| !text.contains("Remove")).await?;
    browser.click("add-file").await?;
    browser.wait_for_text("notice", |text| text.contains("opens this account")).await?;
    browser.wait_for_text("passkey", |text| text.contains("Remove")).await?;

    // All of it in Chinese.
    browser.click("language").await?;
    browser.wait_for_text("key-text", |text| text.contains("没有密码")).await?;
    assert_eq!(browser.read("return document.documentElement.lang", &[]).await?, "zh-Hans");
    browser.click("use-passkey").await?;
    browser.wait_for_text("site-state", |text| text.contains("未运行")).await?;
    browser.screenshot(&artifacts.join("passkey-chinese.png")).await?;

    // The recovery file is a way in, so the passkey may go; then it opens nothing.
    browser.click("remove-passkey").await?;
    browser.wait_for_text("notice", |text| text.contains("不再能打开")).await?;
    browser.click("leave").await?;
    browser.click("use-passkey").await?;
    browser.wait_for_text("notice", |text| text.contains("does not know the passkey")).await?;
    browser.wait_for_text("key-text", |text| text.contains("没有密码")).await?;
    Ok(())
}
