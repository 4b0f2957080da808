// The page of site owners: their account, their sites, what happened there. Nothing here makes HTML of a
// text.
import './embed.js';
import * as account from './sites.account.js';
import { changeLanguage, otherLanguage, say, translate } from './sites.words.js';

const by = (id) => document.getElementById(id);
const home = new URL('.', location.href);

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  if (properties.hook) element.dataset.testid = properties.hook;
  return element;
};
const button = (text, hook, onclick, className = 'plain') => make('button', { type: 'button', textContent: text, hook, onclick, className });
const tell = (text, className = 'ok') => by('notice').replaceChildren(...(text ? [make('p', { className: `card ${className}`, textContent: text })] : []));
const save = (name, type, text) => {
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
};
const guarded = (work) => async (...given) => {
  try {
    tell('');
    await work(...given);
  } catch (error) {
    // Whoever is not in any more sees how to come in.
    if (!account.owner) await draw();
    tell(error.message, 'bad');
  }
};

const perform = async (task) => {
  const { sites, faults } = await account.perform(task);
  by('sites').replaceChildren(...sites.map(card));
  ways();
  return faults;
};

const date = (day) => new Date(day * 864e5).toISOString().slice(0, 10);
const hours = (seconds) => (seconds / 3600).toFixed(2);
const gmac = (macs) => (Math.floor(macs / 1e5) / 1e4).toFixed(4);
const columns = [
  ['day', say('day'), ({ day }) => date(day)], ['shown', say('shown'), ({ shown }) => shown],
  ['accepted', say('accepted'), ({ accepted }) => accepted], ['refused', say('refused'), ({ refused }) => refused],
  ['hours', say('hours'), ({ seconds }) => hours(seconds)], ['GMAC', 'GMAC', ({ macs }) => gmac(macs)],
];
const csv = (days) => [columns.map(([name]) => name), ...days.map((day) => columns.map(([, , value]) => value(day)))]
  .map((row) => row.join(',') + '\r\n').join('');
const counts = (site) => {
  if (!site.days.length) return [make('p', { className: 'soft', textContent: say('Nothing to count yet.') })];
  const cell = (name, text, index) => make(name, { textContent: text, className: index ? 'number' : '' });
  const head = make('tr', {}, ...columns.map(([, name], index) => cell('th', name, index)));
  const rows = [...site.days].reverse().slice(0, 31).map((day) => make('tr', {}, ...columns.map(([, , value], index) => cell('td', value(day), index))));
  return [
    make('div', { className: 'scroll' }, make('table', { hook: 'days' }, make('thead', {}, head), make('tbody', {}, ...rows))),
    make('div', { className: 'row' },
      button(say('Save as CSV'), 'csv', () => save(`potluck-${site.key}.csv`, 'text/csv', csv(site.days))),
      make('span', { className: 'soft', textContent: say('By day, in universal time. Credit is your visitors’; this is their sum.') })),
  ];
};

const code = (text, hook) => make('p', { className: 'answer' }, make('code', { textContent: text, hook }));
const proof = (site) => [
  make('p', { textContent: say('Show that the site is yours. Either let it serve the key as a file:') }),
  code(`/.well-known/potluck-site.txt\n${site.key}`),
  make('p', { textContent: say('or put a line into the head of its front page:') }),
  code(`<meta name="potluck-site" content="${site.key}">`),
];
const snippet = (site) => `<script type="module" src="${home}embed.js" data-site="${site.key}"></script>`;
const shown = (site) => {
  const line = snippet(site);
  const widget = make('potluck-widget');
  widget.setAttribute('site', site.key);
  return [
    make('p', { textContent: say('Put this where the box is to stand:') }),
    code(line, 'snippet'),
    make('div', { className: 'row' }, button(say('Copy'), 'copy', guarded(async () => {
      await navigator.clipboard.writeText(line);
      tell(say('Copied.'));
    }))),
    make('details', {}, make('summary', { textContent: say('Preview') }), widget),
  ];
};

const card = (site) => {
  const act = (task, done) => guarded(async () => {
    const faults = await perform(task);
    if (faults.length) tell(say('Not found there. {faults}.', { faults: faults.join('. ') }), 'bad');
    else tell(done);
  });
  const isProved = site.origins.some((origin) => origin.proved);
  const heading = make('h2', { textContent: site.name });
  const state = site.why_not ? say('○ Does not run: {why}.', { why: site.why_not }) : say('● Runs.');
  return make('section', { className: 'card', hook: 'site' }, heading,
    make('p', { className: site.why_not ? 'warn' : 'ok', textContent: state, hook: 'site-state' }),
    make('dl', { className: 'facts' }, ...site.origins.flatMap(({ origin, proved }) => [
      make('dt', { textContent: origin }), make('dd', { textContent: proved ? say('✓ carries the key') : say('○ not proved yet') }),
    ])),
    ...(isProved ? shown(site) : proof(site)),
    make('div', { className: 'row' },
      button(isProved ? say('Check again') : say('Check now'), 'check', act({ check: { site: site.key } }, say('The key was found.')), isProved ? 'plain' : 'act'),
      site.on
        ? button(say('Switch off'), 'switch', act({ switch: { site: site.key, on: false } }, say('Switched off: the box says so, and whoever was lending has been stopped.')))
        : button(say('Switch on'), 'switch', act({ switch: { site: site.key, on: true } }, say('Switched on.'))),
      button(say('Remove'), 'remove', () => confirm(say('Remove {site}, with its counts? Its key will never be known again.', { site: site.name }))
        && act({ remove: { site: site.key } }, say('Removed.'))())),
    ...counts(site));
};

const saveFile = (jwk) => save('potluck-owner.json', 'application/json', JSON.stringify(jwk));
const keptOrNot = (isKept) => isKept || tell(say('This browser keeps nothing here: save the recovery file, or the key is gone with this page.'), 'warn');
const openFile = () => button(say('Open a recovery file'), 'open', () => by('file').click());
const comeIn = (text, hook, isNew, className) => button(text, hook, guarded(async () => {
  await account.enter(isNew);
  await draw();
}), className);
const stranger = () => {
  by('key-text').textContent = say('Your account is a passkey, or a key that this browser makes and saves as a recovery file: no password, no mail. Whoever has the file can manage your sites, so keep it like a password; if all ways into an account are lost, nobody can bring it back.');
  by('key-row').replaceChildren(
    comeIn(say('Use a passkey'), 'use-passkey', false, 'act'),
    comeIn(say('Make a passkey'), 'make-passkey', true, 'plain'),
    button(say('Make a recovery file'), 'make-key', guarded(async () => {
      const jwk = await account.makeFile();
      keptOrNot(await account.openFile(jwk));
      saveFile(jwk);
      await draw();
    })), openFile());
  by('ways').hidden = true;
  by('sites').replaceChildren();
};
// The ways into the account, as the server told them last.
const ways = () => {
  const { passkeys, files } = account.owner.ways;
  const passkey = ({ credential, made_s }) => make('div', { className: 'row', role: 'listitem', hook: 'passkey' },
    make('span', { textContent: say('Passkey, added on {day}', { day: date(Math.floor(made_s / 86400)) }) }),
    ...(passkeys.length + files > 1 ? [button(say('Remove this passkey'), 'remove-passkey', guarded(async () => {
      await perform({ removepasskey: { credential } });
      tell(say('The passkey opens this account no more.'));
    }))] : []));
  by('ways').hidden = !passkeys.length;
  by('ways').replaceChildren(...passkeys.map(passkey),
    ...(files && !account.owner.jwk ? [make('p', { role: 'listitem', textContent: say('Recovery files: {count}', { count: files }) })] : []));
};
const addPasskey = () => button(say('Add a passkey'), 'add-passkey', guarded(async () => {
  await account.addPasskey();
  ways();
  tell(say('The passkey opens this account from now on.'));
}));
const draw = async () => {
  const { owner } = account;
  by('new').hidden = !owner;
  if (!owner) return stranger();
  const leave = (text, hook, question) => button(text, hook, () => {
    if (question && !confirm(question)) return;
    account.forget();
    draw();
  });
  if (owner.jwk) {
    by('key-text').textContent = say('This browser has the key {key}…. Its recovery file is the only other copy of this key.', { key: owner.id.slice(0, 8) });
    by('key-row').replaceChildren(button(say('Save the recovery file'), 'save-key', () => saveFile(owner.jwk)), openFile(), addPasskey(),
      leave(say('Forget it here'), 'forget', say('Forget the key in this browser? Without its recovery file or a passkey you cannot manage your sites any more.')));
  } else {
    const until = new Date(owner.until_s * 1000).toLocaleTimeString(document.documentElement.lang, { timeStyle: 'short' });
    by('key-text').textContent = say('You are here by your passkey, until {time} and for as long as this page is open.', { time: until });
    by('key-row').replaceChildren(addPasskey(), button(say('Add a recovery file'), 'add-file', guarded(async () => {
      saveFile(await account.addFile());
      ways();
      tell(say('The file that was saved opens this account from now on.'));
    })), leave(say('Leave'), 'leave'));
  }
  await perform('list');
};

by('file').onchange = guarded(async () => {
  const [file] = by('file').files;
  if (!file) return;
  try {
    keptOrNot(await account.openFile(JSON.parse(await file.text())));
  } catch {
    throw new Error(say('That is no recovery file. Nothing was changed.'));
  } finally {
    by('file').value = '';
  }
  await draw();
});
by('form').onsubmit = (event) => {
  event.preventDefault();
  guarded(async () => {
    const origins = by('origins').value.split(/\s+/).filter(Boolean).map((text) => {
      try {
        return new URL(text).origin;
      } catch {
        throw new Error(say('{text} is no address: write it as in a browser, such as https://recipes.example.', { text }));
      }
    });
    await perform({ register: { name: by('name').value, origins } });
    event.target.reset();
    tell(say('Registered. Next: show that it is yours.'));
  })();
};
translate(document);
by('language').replaceChildren(make('button', { type: 'button', className: 'plain', textContent: otherLanguage.name, lang: otherLanguage.tag, hook: 'language', onclick: changeLanguage }));
await guarded(async () => {
  await account.openKept();
  await draw();
})();
