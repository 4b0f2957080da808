// The page of site owners. An owner is a key that this browser makes; every task is a text that it
// signs (crates/protocol/src/site.rs). Nothing here makes HTML of a text.
import './embed.js';
const by = (id) => document.getElementById(id);
const KEPT = 'potluckOwner';
const home = new URL('.', location.href);
const encoder = new TextEncoder();
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const bytesOf = (base64url) => Uint8Array.from(atob(base64url.replace(/-/g, '+').replace(/_/g, '/')), (letter) => letter.charCodeAt(0));
let owner;

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  if (properties.hook) element.dataset.testid = properties.hook;
  return element;
};
const button = (text, hook, onclick, className = 'plain') => make('button', { type: 'button', textContent: text, hook, onclick, className });
const say = (text, className = 'ok') => by('notice').replaceChildren(...(text ? [make('p', { className: `card ${className}`, textContent: text })] : []));
const save = (name, type, text) => {
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
};
const guarded = (work) => async (...given) => {
  try {
    say('');
    await work(...given);
  } catch (error) {
    say(error.message, 'bad');
  }
};

const open = async ({ kty, crv, x, d }) => {
  const key = await crypto.subtle.importKey('jwk', { kty, crv, x, d }, 'Ed25519', true, ['sign']);
  owner = { key, jwk: { kty, crv, x, d }, id: hex(bytesOf(x)) };
};
const keep = () => {
  try {
    localStorage.setItem(KEPT, JSON.stringify(owner.jwk));
  } catch {
    say('This browser keeps nothing here: save the recovery file, or the key is gone with this page.', 'warn');
  }
};

const perform = async (task) => {
  const nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
  const text = JSON.stringify({ to: location.origin, at_s: Math.floor(Date.now() / 1000), nonce, task });
  const signed = await crypto.subtle.sign('Ed25519', owner.key, encoder.encode('potluck site v1\0' + text));
  const body = JSON.stringify({ owner: owner.id, text, signature: hex(new Uint8Array(signed)) });
  const answer = await fetch('./api/v1/sites/tasks', { method: 'POST', body }).catch(() => {
    throw new Error('The server does not answer. Nothing was changed; try again.');
  });
  const { sites, faults, error } = await answer.json();
  if (!answer.ok) throw new Error(`Nothing was changed: ${error}.`);
  by('sites').replaceChildren(...sites.map(card));
  return faults;
};

const date = (day) => new Date(day * 864e5).toISOString().slice(0, 10);
const hours = (seconds) => (seconds / 3600).toFixed(2);
const gmac = (macs) => (Math.floor(macs / 1e5) / 1e4).toFixed(4);
const columns = [
  ['day', ({ day }) => date(day)], ['shown', ({ shown }) => shown], ['accepted', ({ accepted }) => accepted],
  ['refused', ({ refused }) => refused], ['hours', ({ seconds }) => hours(seconds)], ['GMAC', ({ macs }) => gmac(macs)],
];
const csv = (days) => [columns.map(([name]) => name), ...days.map((day) => columns.map(([, value]) => value(day)))]
  .map((row) => row.join(',') + '\r\n').join('');
const counts = (site) => {
  if (!site.days.length) return [make('p', { className: 'soft', textContent: 'Nothing to count yet.' })];
  const cell = (name, text, index) => make(name, { textContent: text, className: index ? 'number' : '' });
  const head = make('tr', {}, ...columns.map(([name], index) => cell('th', name, index)));
  const rows = [...site.days].reverse().slice(0, 31).map((day) => make('tr', {}, ...columns.map(([, value], index) => cell('td', value(day), index))));
  return [
    make('div', { className: 'scroll' }, make('table', { hook: 'days' }, make('thead', {}, head), make('tbody', {}, ...rows))),
    make('div', { className: 'row' },
      button('Save as CSV', 'csv', () => save(`potluck-${site.key}.csv`, 'text/csv', csv(site.days))),
      make('span', { className: 'soft', textContent: 'By day, in universal time. Credit is your visitors’; this is their sum.' })),
  ];
};

const code = (text, hook) => make('p', { className: 'answer' }, make('code', { textContent: text, hook }));
const proof = (site) => [
  make('p', { textContent: 'Show that the site is yours. Either let it serve the key as a file:' }),
  code(`/.well-known/potluck-site.txt\n${site.key}`),
  make('p', { textContent: 'or put a line into the head of its front page:' }),
  code(`<meta name="potluck-site" content="${site.key}">`),
];
const snippet = (site) => `<script type="module" src="${home}embed.js" data-site="${site.key}"></script>`;
const shown = (site) => {
  const line = snippet(site);
  const widget = make('potluck-widget');
  widget.setAttribute('site', site.key);
  return [
    make('p', { textContent: 'Put this where the box is to stand:' }),
    code(line, 'snippet'),
    make('div', { className: 'row' }, button('Copy', 'copy', guarded(async () => {
      await navigator.clipboard.writeText(line);
      say('Copied.');
    }))),
    make('details', {}, make('summary', { textContent: 'Preview' }), widget),
  ];
};

const card = (site) => {
  const act = (task, done) => guarded(async () => {
    const faults = await perform(task);
    if (faults.length) say(`Not found there. ${faults.join('. ')}.`, 'bad');
    else say(done);
  });
  const isProved = site.origins.some((origin) => origin.proved);
  const heading = make('h2', { textContent: site.name });
  const state = site.why_not ? `○ Does not run: ${site.why_not}.` : '● Runs.';
  return make('section', { className: 'card', hook: 'site' }, heading,
    make('p', { className: site.why_not ? 'warn' : 'ok', textContent: state, hook: 'site-state' }),
    make('dl', { className: 'facts' }, ...site.origins.flatMap(({ origin, proved }) => [
      make('dt', { textContent: origin }), make('dd', { textContent: proved ? '✓ carries the key' : '○ not proved yet' }),
    ])),
    ...(isProved ? shown(site) : proof(site)),
    make('div', { className: 'row' },
      button(isProved ? 'Check again' : 'Check now', 'check', act({ check: { site: site.key } }, 'The key was found.'), isProved ? 'plain' : 'act'),
      site.on
        ? button('Switch off', 'switch', act({ switch: { site: site.key, on: false } }, 'Switched off: the box says so, and whoever was lending has been stopped.'))
        : button('Switch on', 'switch', act({ switch: { site: site.key, on: true } }, 'Switched on.')),
      button('Remove', 'remove', () => confirm(`Remove ${site.name}, with its counts? Its key will never be known again.`)
        && act({ remove: { site: site.key } }, 'Removed.')())),
    ...counts(site));
};

const recovery = () => save('potluck-owner.json', 'application/json', JSON.stringify(owner.jwk));
const draw = async () => {
  by('new').hidden = !owner;
  const choose = button('Open a recovery file', 'open', () => by('file').click());
  if (!owner) {
    by('key-text').textContent = 'Your account is a key that this browser makes: no password, no mail. Whoever has its file can manage your sites, so keep it like a password; if it is lost, nobody can bring it back.';
    by('key-row').replaceChildren(button('Make a key', 'make-key', guarded(async () => {
      const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']).catch(() => {
        throw new Error('This browser cannot make such a key: it needs Ed25519, which browsers have since 2025, and a page that came over https.');
      });
      await open(await crypto.subtle.exportKey('jwk', pair.privateKey));
      keep();
      recovery();
      await draw();
    }), 'act'), choose);
    by('sites').replaceChildren();
    return;
  }
  by('key-text').textContent = `This browser has the key ${owner.id.slice(0, 8)}…. Its recovery file is the only other copy.`;
  by('key-row').replaceChildren(button('Save the recovery file', 'save-key', recovery), choose, button('Forget it here', 'forget', () => {
    if (!confirm('Forget the key in this browser? Without its recovery file you cannot manage your sites any more.')) return;
    try {
      localStorage.removeItem(KEPT);
    } catch {}
    owner = undefined;
    draw();
  }));
  await perform('list');
};

by('file').onchange = guarded(async () => {
  const [file] = by('file').files;
  if (!file) return;
  try {
    await open(JSON.parse(await file.text()));
  } catch {
    throw new Error('That is no recovery file. Nothing was changed.');
  } finally {
    by('file').value = '';
  }
  keep();
  await draw();
});
by('form').onsubmit = (event) => {
  event.preventDefault();
  guarded(async () => {
    const origins = by('origins').value.split(/\s+/).filter(Boolean).map((text) => {
      try {
        return new URL(text).origin;
      } catch {
        throw new Error(`${text} is no address: write it as in a browser, such as https://recipes.example.`);
      }
    });
    await perform({ register: { name: by('name').value, origins } });
    event.target.reset();
    say('Registered. Next: show that it is yours.');
  })();
};
await guarded(async () => {
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(KEPT));
  } catch {}
  if (kept) await open(kept).catch(() => {});
  await draw();
})();
