//! One TLS configuration for the WebSocket and for HTTP: rustls with ring, trusting what the
//! operating system trusts.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// The configuration.
///
/// On a system without any certificate authorities it trusts nobody: `http://` goes on working and
/// `https://` says why it does not.
pub(super) fn client_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| {
        let builder = || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring offers cipher suites for both TLS versions")
        };
        let config = builder().with_platform_verifier().map(|builder| builder.with_no_client_auth());
        Arc::new(config.unwrap_or_else(|error| {
            tracing::warn!(%error, "no certificate authorities on this system: https and wss will be refused");
            builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }))
    }))
}
