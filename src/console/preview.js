// The HTML of a message in a frame without scripts, origin or network. Owns the frame: its document, the policy that it
// carries, its width and its look, and what is loaded from elsewhere once a person asks for it.

import { $, element } from './page.js';
import { remoteContent } from './remote.js';
import { t } from './words.js';

// Nothing is loaded but what the message carries; what a person asks for is loaded for this one message.
const framePolicy = (remote) => {
  const outside = remote ? ' http: https:' : '';
  return `default-src 'none'; img-src data:${outside}; style-src 'unsafe-inline'${outside}; font-src data:${outside}`;
};
// What clients do to mail without a dark form of its own: every colour turned, pictures turned back.
const INVERTED = `html{background:#fff;filter:invert(1) hue-rotate(180deg)}
img,picture,[background],[style*="background-image"]{filter:invert(1) hue-rotate(180deg)}picture img{filter:none}`;

// Mail that has not come to rest by then is shown as it is: the policy holds all the same.
const READINGS_MOST = 5;

const state = { message: null, remote: false };

export function setUpPreview() {
  $('width').addEventListener('change', () => {
    $('panel-html').dataset.width = $('width').value;
  });
  $('look').addEventListener('change', draw);
  $('load-remote').addEventListener('click', () => {
    state.remote = true;
    draw();
    $('panel-html').focus();
  });
}

export function showPreview(message) {
  state.message = message;
  state.remote = false;
  draw();
}

export function clearPreview() {
  state.message = null;
  setFrame(null);
}

function draw() {
  const html = state.message?.html ?? null;
  setFrame(html === null ? null : frameDocument(html, state.message.attachments ?? []));
  $('no-html').hidden = html !== null;
  $('panel-html').dataset.look = $('look').value;
  $('panel-html').querySelector('.view').hidden = html === null;
}

// A new frame each time: another document in the old one would be a step of the browser's history.
function setFrame(content) {
  const frame = $('html').cloneNode(false);
  frame.removeAttribute('srcdoc');
  if (content !== null) frame.srcdoc = content;
  frame.hidden = content === null;
  $('html').replaceWith(frame);
}

// The mail's HTML behind a policy that its own markup cannot take back. It is cleaned until reading it again gives the
// same: markup that is nested against the rules may turn into something else when it is read anew.
function frameDocument(html, attachments) {
  const whole = withParts(html, attachments);
  tellRemote(remoteContent(parsed(whole)));
  let text = whole;
  for (let reading = 0; reading < READINGS_MOST; reading += 1) {
    const page = parsed(text);
    clean(page);
    const next = page.documentElement.outerHTML;
    if (next === text) break;
    text = next;
  }
  const own = $('look').value === 'inverted' ? `<style>${INVERTED}</style>` : '';
  const policy = `<meta http-equiv="Content-Security-Policy" content="${framePolicy(state.remote)}">`;
  return `<!doctype html>${policy}<meta http-equiv="x-dns-prefetch-control" content="off">${own}${text}`;
}

const parsed = (text) => new DOMParser().parseFromString(text, 'text/html');

// Takes out what the policy does not stop. Browsers connect to hosts that are hinted at, and to those of frames, before
// they ask any policy; a template may be a shadow root that is not seen here; and neither another base nor another policy
// is the mail's to say.
function clean(page) {
  for (const found of page.querySelectorAll('meta[http-equiv], base, script, iframe, frame, frameset, object, embed, applet, template')) found.remove();
  for (const link of page.querySelectorAll('link')) {
    if (state.remote && /\bstylesheet\b/i.test(link.rel)) link.rel = 'stylesheet';
    else link.remove();
  }
  for (const found of page.querySelectorAll('video, audio, video source, audio source, track')) {
    for (const name of ['src', 'srcset', 'poster']) found.removeAttribute(name);
  }
  for (const link of page.querySelectorAll('[ping]')) link.removeAttribute('ping');
  tameLinks(page);
  useScheme(page, $('look').value);
}

// Pictures that the message carries, in place of the names that it gives them (RFC 2392).
function withParts(html, attachments) {
  const parts = new Map();
  for (const part of attachments) {
    if (part.content_id) parts.set(part.content_id.replace(/^<|>$/g, ''), part);
  }
  return html.replace(/(["'(=]\s*)cid:([^"'()\s>]+)/gi, (all, before, id) => {
    const part = parts.get(id) ?? parts.get(decoded(id));
    return part ? `${before}data:${mediaType(part)};base64,${part.content}` : all;
  });
}

// A link opens a page of its own, which knows nothing of this one. What leads into this service or runs leads nowhere.
function tameLinks(page) {
  for (const link of page.querySelectorAll('a, area')) {
    const href = (link.getAttribute('href') ?? link.getAttribute('xlink:href') ?? '').trim();
    if (href.startsWith('#')) continue;
    if (!/^(https?:|mailto:|tel:|sms:|\/\/)/i.test(href)) {
      link.removeAttribute('href');
      link.removeAttribute('xlink:href');
    }
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer');
  }
}

// The look is what was chosen here, not what this browser's system wishes: the frame's `prefers-color-scheme` is settled
// in the text, since not every browser hands the frame's own scheme down.
function useScheme(page, look) {
  const always = '(min-width: 0px)';
  const never = '(max-width: 0px)';
  const scheme = look === 'dark' ? 'dark' : 'light';
  const settled = (text) => text
    .replace(/\(\s*prefers-color-scheme\s*:\s*dark\s*\)/gi, look === 'dark' ? always : never)
    .replace(/\(\s*prefers-color-scheme\s*:\s*light\s*\)/gi, look === 'dark' ? never : always)
    .replace(/(?<![\w-])(color-scheme\s*:)[^;}"]*\bdark\b[^;}"]*/gi, `$1 ${scheme}`);
  for (const style of page.querySelectorAll('style')) style.textContent = settled(style.textContent);
  for (const found of page.querySelectorAll('[style]')) found.setAttribute('style', settled(found.getAttribute('style')));
  for (const meta of page.querySelectorAll('meta[name="color-scheme" i]')) {
    if (/\bdark\b/i.test(meta.content)) meta.content = scheme;
  }
  for (const found of page.querySelectorAll('[media]')) found.setAttribute('media', settled(found.getAttribute('media')));
}

function tellRemote(found) {
  const { loadable, never, hosts } = found;
  const known = hosts.slice(0, 3).join(', ') + (hosts.length > 3 ? ', …' : '');
  const parts = [];
  if (loadable && state.remote) parts.push(t('remote_loaded', { count: loadable, hosts: known }));
  if (loadable && !state.remote) parts.push(t('remote_blocked', { count: loadable, hosts: known }));
  if (never) parts.push(t('remote_never', { count: never }));
  $('remote').replaceChildren(...parts.map((text) => element('span', '', text)));
  $('remote').hidden = parts.length === 0;
  $('load-remote').hidden = loadable === 0 || state.remote;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function mediaType(part) {
  const type = part.content_type ?? '';
  return /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) ? type : 'application/octet-stream';
}
