// Potluck's widget: an element around a frame of this script's own origin (docs/embedding.md).
// It reads nothing of the page around it, and takes two things from the frame: how tall it is, and
// what state it is in.
const home = new URL('.', import.meta.url);
const open = new Map();
// However many there are, the first one on the page asks; the others are empty.
let first;
addEventListener('message', ({ origin, source, data }) => {
  const widget = open.get(source);
  if (!widget || origin !== home.origin || !data || !Number.isFinite(data.height)) return;
  widget.firstChild.style.height = Math.min(Math.max(data.height, 0), 900) + 'px';
  widget.dispatchEvent(new CustomEvent('potluck', { detail: String(data.state) }));
});
customElements.define('potluck-widget', class extends HTMLElement {
  connectedCallback() {
    if (first?.isConnected) return;
    first = this;
    const frame = document.createElement('iframe');
    const site = encodeURIComponent(this.getAttribute('site'));
    const look = new URLSearchParams();
    for (const name of ['label', 'accent', 'theme', 'place']) look.set(name, this.getAttribute(name) || '');
    // The owner's choice; otherwise the language that the visitor's browser asks for.
    const lang = this.getAttribute('lang');
    frame.src = `${home}embed.html?site=${site}${lang ? '&lang=' + encodeURIComponent(lang) : ''}#${look}`;
    frame.title = 'Potluck';
    frame.loading = 'lazy';
    frame.sandbox = 'allow-scripts allow-same-origin allow-downloads allow-popups allow-popups-to-escape-sandbox';
    frame.allow = 'compute-pressure';
    frame.referrerPolicy = 'no-referrer';
    const corner = this.getAttribute('place') === 'corner';
    // By property, which no style-src of the page forbids. Without height until the frame says one: a
    // frame that may not be here shows nothing.
    Object.assign(this.style, corner
      ? { position: 'fixed', right: '16px', bottom: '16px', width: 'min(340px, calc(100vw - 32px))', zIndex: 2147483647 }
      : { display: 'block', maxWidth: '480px' });
    Object.assign(frame.style, { display: 'block', width: '100%', height: 0, border: 0, colorScheme: 'normal' });
    this.replaceChildren(frame);
    open.set(frame.contentWindow, this);
  }
  disconnectedCallback() {
    if (first !== this) return;
    first = undefined;
    open.clear();
    this.replaceChildren();
    document.querySelector('potluck-widget')?.connectedCallback();
  }
});
for (const script of document.querySelectorAll('script[data-site]')) {
  if (script.src !== import.meta.url) continue;
  const widget = document.createElement('potluck-widget');
  for (const [name, value] of Object.entries(script.dataset)) widget.setAttribute(name, value);
  script.after(widget);
}
