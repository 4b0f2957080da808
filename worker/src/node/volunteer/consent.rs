//! The volunteer's grant: made by the click, changed by the person, and at an end when its time is up.

use potluck_protocol::grant::{Grant, Limits, SignedGrant, Terms};
use potluck_protocol::page::{BackendPreference, Granted, LendingPhase, Notice};

use super::Volunteer;
use crate::node::context::Context;

impl Volunteer {
    /// The person lends this machine.
    pub(in crate::node) fn lend(
        &mut self,
        backend: BackendPreference,
        terms: Terms,
        context: &mut Context,
    ) {
        let to = context.link.origin().unwrap_or_default();
        let grant = terms.grant(context.me, to, context.calendar_s);
        self.lend_again(backend, SignedGrant::new(&context.identity, grant), context);
    }

    /// The person lends this machine under a grant that there is already.
    pub(in crate::node) fn lend_again(
        &mut self,
        backend: BackendPreference,
        grant: SignedGrant,
        context: &mut Context,
    ) {
        if self.is_lending() {
            return;
        }
        match check(&grant, context) {
            Ok(()) => self.start(backend, grant, context),
            Err(reason) => {
                self.phase = LendingPhase::Failed { reason };
                self.notices.ask_now();
            }
        }
    }

    /// The person wants other limits, for as long as was agreed on.
    pub(in crate::node) fn set_limits(&mut self, limits: Limits, context: &mut Context) {
        let Some(SignedGrant { grant: old, .. }) = context.grant.clone() else { return };
        let grant = Grant { limits, given_s: context.calendar_s.max(old.given_s), ..old };
        let grant = SignedGrant::new(&context.identity, grant);
        if check(&grant, context).is_ok() {
            let limits = grant.grant.limits.clone();
            context.grant = Some(grant);
            self.handle_limits(&limits, context);
            self.register(context);
        }
        // Of limits that nothing can be computed within, the person sees that the old ones hold.
        let granted = context.grant.clone().map(|signed| Box::new(Granted::new(signed)));
        context.outbox.notice(Notice::Grant(granted));
        self.notices.ask_now();
    }
}

/// Whether a grant is this node's, for the server that was dialled, and holds now.
fn check(grant: &SignedGrant, context: &Context) -> Result<(), String> {
    let Some(to) = context.link.origin() else {
        return Err("there is no server to lend to; connect to one first".to_owned());
    };
    let checked = grant.check(&to, context.me, context.calendar_s);
    checked.map_err(|fault| format!("this machine is not lent: {fault}"))
}
