// The words of the page of site owners in other languages. Its English stands where it is said, and is
// what a sentence is found by. Sentences of the server's own are in English.
const KEPT = 'potluck-language';
const CHINESE = new Map([
  ['The widget on your site', '您网站上的小组件'],
  ['Your visitors may lend a hand from your pages: a box asks them, and nothing happens unless they say yes. What they are credited with is theirs.', '您的访客可以在您的网页上帮一把手：一个小框会询问他们，只有同意了才会有动作。记给他们的贡献归他们自己。'],
  ['Back to the table', '回到桌边'],
  ['Your account', '您的账户'],
  ['Register a site', '登记网站'],
  ['Name, as your visitors read it', '访客看到的名称'],
  ['Where its pages are, one a line', '网页所在的地址，每行一个'],
  ['Register', '登记'],
  ['This browser cannot make such a key: it needs Ed25519, which browsers have since 2025, and a page that came over https.', '这个浏览器无法生成这种密钥：需要 Ed25519（2025 年起的浏览器都有），并且网页要经由 https 打开。'],
  ['The server does not answer. Nothing was changed; try again.', '服务器没有回应。什么都没有改变，请再试一次。'],
  ['Nothing was changed: {error}.', '什么都没有改变：{error}。'],
  ['No passkey was given. Nothing was changed.', '没有收到通行密钥。什么都没有改变。'],
  ['That device has a passkey of this account already.', '那台设备已经有这个账户的通行密钥。'],
  ['Passkeys need a page that came over https from a name, not from an address of numbers.', '通行密钥要求网页经由 https 从域名打开，而不是数字地址。'],
  ['Sites at {host}', '{host} 的网站'],
  ['day', '日期'],
  ['shown', '显示'],
  ['accepted', '同意'],
  ['refused', '拒绝'],
  ['hours', '小时'],
  ['Nothing to count yet.', '还没有可统计的。'],
  ['Save as CSV', '存为 CSV'],
  ['By day, in universal time. Credit is your visitors’; this is their sum.', '按日统计，世界时。贡献归您的访客，这里是总和。'],
  ['Show that the site is yours. Either let it serve the key as a file:', '请证明网站是您的。可以让它以文件形式提供密钥：'],
  ['or put a line into the head of its front page:', '或者在首页的 head 中加一行：'],
  ['Put this where the box is to stand:', '把这一行放到小框应在的位置：'],
  ['Copy', '复制'],
  ['Copied.', '已复制。'],
  ['Preview', '预览'],
  ['Not found there. {faults}.', '那里没有找到。{faults}。'],
  ['○ Does not run: {why}.', '○ 未运行：{why}。'],
  ['● Runs.', '● 运行中。'],
  ['✓ carries the key', '✓ 带有密钥'],
  ['○ not proved yet', '○ 尚未证明'],
  ['Check again', '再检查一次'],
  ['Check now', '现在检查'],
  ['The key was found.', '找到了密钥。'],
  ['Switch off', '关闭'],
  ['Switched off: the box says so, and whoever was lending has been stopped.', '已关闭：小框会说明，正在出借的人已被停止。'],
  ['Switch on', '打开'],
  ['Switched on.', '已打开。'],
  ['Remove', '删除'],
  ['Remove {site}, with its counts? Its key will never be known again.', '删除 {site} 及其统计？它的密钥将不再有效。'],
  ['Removed.', '已删除。'],
  ['This browser keeps nothing here: save the recovery file, or the key is gone with this page.', '这个浏览器在这里不保存任何东西：请保存恢复文件，否则密钥会随网页一起消失。'],
  ['Open a recovery file', '打开恢复文件'],
  ['Your account is a passkey, or a key that this browser makes and saves as a recovery file: no password, no mail. Whoever has the file can manage your sites, so keep it like a password; if all ways into an account are lost, nobody can bring it back.', '您的账户是一个通行密钥，或是由浏览器生成并存为恢复文件的密钥：没有密码，也不用邮箱。谁有这个文件，谁就能管理您的网站，请像密码一样保管；如果进入账户的方式全部丢失，没有人能找回。'],
  ['Use a passkey', '使用通行密钥'],
  ['Make a passkey', '创建通行密钥'],
  ['Make a recovery file', '生成恢复文件'],
  ['Passkey, added on {day}', '通行密钥，{day} 添加'],
  ['Remove this passkey', '删除这个通行密钥'],
  ['The passkey opens this account no more.', '这个通行密钥不再能打开此账户。'],
  ['Recovery files: {count}', '恢复文件：{count} 个'],
  ['Add a passkey', '添加通行密钥'],
  ['The passkey opens this account from now on.', '从现在起，这个通行密钥可以打开此账户。'],
  ['This browser has the key {key}…. Its recovery file is the only other copy of this key.', '这个浏览器有密钥 {key}…。恢复文件是这个密钥唯一的另一份。'],
  ['Save the recovery file', '保存恢复文件'],
  ['Forget it here', '在此处忘记它'],
  ['Forget the key in this browser? Without its recovery file or a passkey you cannot manage your sites any more.', '要在这个浏览器里忘记密钥吗？没有恢复文件或通行密钥，您就不能再管理您的网站。'],
  ['You are here by your passkey, until {time} and for as long as this page is open.', '您已用通行密钥进入，到 {time} 为止，且只在这个网页打开期间有效。'],
  ['Add a recovery file', '添加恢复文件'],
  ['The file that was saved opens this account from now on.', '从现在起，刚保存的文件可以打开此账户。'],
  ['Leave', '离开'],
  ['That is no recovery file. Nothing was changed.', '那不是恢复文件。什么都没有改变。'],
  ['{text} is no address: write it as in a browser, such as https://recipes.example.', '{text} 不是地址：请像在浏览器里那样写，例如 https://recipes.example。'],
  ['Registered. Next: show that it is yours.', '已登记。下一步：证明它是您的。'],
]);
const LANGUAGES = [{ tag: 'en', name: 'English' }, { tag: 'zh-Hans', name: '中文', words: CHINESE }];

const of = (tag) => LANGUAGES.find((language) => language.tag.split('-')[0] === tag.split('-')[0].toLowerCase());
let kept;
try {
  kept = localStorage.getItem(KEPT);
} catch {}
// What was chosen here or on the page itself, or else the first of the browser's languages.
const language = [kept || [], navigator.languages].flat().map(of).find(Boolean) || LANGUAGES[0];
export const otherLanguage = LANGUAGES.find((other) => other !== language);

export const changeLanguage = () => {
  try {
    localStorage.setItem(KEPT, otherLanguage.tag);
    location.reload();
  } catch {
    // Where nothing can be kept, the browser's own language stays.
  }
};

// A sentence in the page's language, with what it is told about.
export const say = (english, values = {}) =>
  (language.words?.get(english) ?? english).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

// Puts the words of a document that is written in English into the page's language.
export const translate = (root) => {
  document.documentElement.lang = language.tag;
  document.title = 'Potluck: ' + say('The widget on your site');
  for (const element of root.querySelectorAll('[data-say]')) {
    element.textContent = say(element.textContent.replace(/\s+/g, ' ').trim());
  }
};
