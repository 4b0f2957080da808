//! What the operator decides about widgets.

use clap::Args;
use potluck_protocol::id::SiteKey;

/// Whether and which sites may show the widget.
#[derive(Clone, Debug, Default, Args)]
pub struct WidgetOptions {
    /// Nobody's site may show this server's widget; those that do say that it is not possible.
    #[arg(long, env = "POTLUCK_NO_WIDGETS")]
    pub no_widgets: bool,
    /// Site that may not show the widget, whatever its owner says, by its key. May be given several
    /// times.
    #[arg(long = "block-site", env = "POTLUCK_BLOCK_SITES", value_delimiter = ',')]
    pub blocked_sites: Vec<SiteKey>,
    /// Sites may lie on private addresses and without https, as in a company's own network or on
    /// this machine: the server then asks such addresses whether they carry a site's key.
    #[arg(long, env = "POTLUCK_ALLOW_PRIVATE_SITES")]
    pub allow_private_sites: bool,
}
