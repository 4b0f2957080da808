//! A browser's authenticator, which is not there: it makes and shows passkeys as a telephone or a laptop
//! with a fingerprint reader does.
//!
//! Source: <https://chromedevtools.github.io/devtools-protocol/tot/WebAuthn/>

use serde_json::json;

use crate::browser::Browser;

impl Browser {
    /// Gives this tab an authenticator that makes and shows passkeys, and always finds its person there.
    ///
    /// # Errors
    /// If the browser is gone, or knows no such thing.
    pub async fn add_authenticator(&self) -> anyhow::Result<()> {
        self.send_command("WebAuthn.enable", json!({ "enableUI": false })).await?;
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true,
        });
        self.send_command("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await
    }
}
