// An owner's account at the page of site owners: a recovery file, which is a key that this browser made,
// or a passkey, which vouches for a key of this page's for an hour (crates/protocol/src/passkey.rs).
// Every task is a text that such a key signs (crates/protocol/src/site.rs).
import { say } from './sites.words.js';

const KEPT = 'potluckOwner';
const encoder = new TextEncoder();
export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const unhex = (text) => Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));
const bytesOf = (base64url) => Uint8Array.from(atob(base64url.replace(/-/g, '+').replace(/_/g, '/')), (letter) => letter.charCodeAt(0));
const base64url = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

// { key, id, jwk } with a recovery file, { key, id, account, until_s } by a passkey; `ways` when the
// server has told them.
export let owner;

export const forget = () => {
  owner = undefined;
  try {
    localStorage.removeItem(KEPT);
  } catch {}
};

// Signs by the key of a recovery file from now on, and keeps it. False if this browser keeps nothing.
export const openFile = async ({ kty, crv, x, d }) => {
  const key = await crypto.subtle.importKey('jwk', { kty, crv, x, d }, 'Ed25519', true, ['sign']);
  owner = { key, jwk: { kty, crv, x, d }, id: hex(bytesOf(x)) };
  try {
    localStorage.setItem(KEPT, JSON.stringify(owner.jwk));
    return true;
  } catch {
    return false;
  }
};

export const openKept = async () => {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    if (kept) await openFile(kept);
  } catch {}
};

const pair = (extractable) => crypto.subtle.generateKey('Ed25519', extractable, ['sign', 'verify']).catch(() => {
  throw new Error(say('This browser cannot make such a key: it needs Ed25519, which browsers have since 2025, and a page that came over https.'));
});

export const makeFile = async () => crypto.subtle.exportKey('jwk', (await pair(true)).privateKey);

const ask = async (path, body) => {
  const answer = await fetch(`./api/v1/sites/${path}`, { method: 'POST', body: body && JSON.stringify(body) }).catch(() => {
    throw new Error(say('The server does not answer. Nothing was changed; try again.'));
  });
  const given = await answer.json();
  // The server knows the key no more: whoever had a passkey's word asks for it again.
  if (answer.status === 401) owner = undefined;
  if (!answer.ok) throw new Error(say('Nothing was changed: {error}.', { error: given.error }));
  return given;
};

const signed = async ({ key, id }, task, account) => {
  const nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
  const text = JSON.stringify({ to: location.origin, at_s: Math.floor(Date.now() / 1000), nonce, task, account });
  const signature = await crypto.subtle.sign('Ed25519', key, encoder.encode('potluck site v1\0' + text));
  return { owner: id, text, signature: hex(new Uint8Array(signature)) };
};

// Has the server do something; all sites of this owner, and what a check did not find.
export const perform = async (task) => {
  const answer = await ask('tasks', await signed(owner, task, owner.account));
  owner.ways = answer.account;
  return answer;
};

// What an authenticator is to sign, so that this one key is vouched for.
const challenge = async (id) => {
  const { nonce } = await ask('challenge');
  const parts = [encoder.encode('potluck passkey v1\0'), bytesOf(nonce), unhex(id)];
  return { nonce, challenge: await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()) };
};
const authenticator = async (work) => {
  try {
    if (!globalThis.PublicKeyCredential) throw new DOMException('', 'SecurityError');
    return await work();
  } catch (error) {
    const told = {
      NotAllowedError: say('No passkey was given. Nothing was changed.'),
      InvalidStateError: say('That device has a passkey of this account already.'),
      SecurityError: say('Passkeys need a page that came over https from a name, not from an address of numbers.'),
    }[error.name];
    throw told ? new Error(told) : error;
  }
};
const created = async (id, account) => {
  const { nonce, challenge: asked } = await challenge(id);
  const made = await authenticator(() => navigator.credentials.create({
    publicKey: {
      challenge: asked,
      rp: { name: 'Potluck' },
      // The account's name is the server's; nothing of a person is in it.
      user: { id: account ? unhex(account) : bytesOf(nonce), name: location.host, displayName: say('Sites at {host}', { host: location.host }) },
      pubKeyCredParams: [-7, -8].map((alg) => ({ type: 'public-key', alg })),
      authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
      excludeCredentials: (owner?.ways?.passkeys || []).map(({ credential }) => ({ type: 'public-key', id: bytesOf(credential) })),
      attestation: 'none',
    },
  }));
  return {
    nonce,
    client_data: base64url(made.response.clientDataJSON),
    authenticator_data: base64url(made.response.getAuthenticatorData()),
  };
};
const given = async (id) => {
  const { nonce, challenge: asked } = await challenge(id);
  // Without names of credentials: the authenticator knows which it has, and nothing is typed.
  const { rawId, response } = await authenticator(() => navigator.credentials.get({
    publicKey: { challenge: asked, userVerification: 'required' },
  }));
  return {
    nonce,
    credential: base64url(rawId),
    client_data: base64url(response.clientDataJSON),
    authenticator_data: base64url(response.authenticatorData),
    signature: base64url(response.signature),
    account: base64url(response.userHandle || new ArrayBuffer(0)),
  };
};

// Comes in by a passkey: a new one, which opens an account, or a known one. The key that it vouches for
// cannot leave this page, and ends with it.
export const enter = async (isNew) => {
  const { privateKey, publicKey } = await pair(false);
  const id = hex(new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)));
  const by = isNew ? { new: await created(id) } : { known: await given(id) };
  const entered = await ask('enter', { signer: id, by });
  owner = { key: privateKey, id, ...entered };
};

export const addPasskey = async () => perform({ addpasskey: { passkey: await created(owner.id, owner.ways.owner) } });

// Lets a new recovery file into the account; the file.
export const addFile = async () => {
  const jwk = await makeFile();
  const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']);
  const file = await signed({ key, id: hex(bytesOf(jwk.x)) }, { join: { account: owner.ways.owner } });
  await perform({ addfile: { file } });
  return jwk;
};
