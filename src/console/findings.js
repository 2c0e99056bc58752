// What can be told of a mail from its text alone: which features of HTML and CSS it uses and where, its links, its size.
// Pure: asks for nothing, and touches nothing of the page.

import { CLIENTS, FEATURES } from './clients.js';
import { hostOf } from './remote.js';

// Beyond this nothing is sought: such mail has other troubles.
const HTML_MOST = 600_000;
const PLACES_MOST = 20;
const EXCERPT = 70;
const WEIGHT = { y: 1, p: 0.5, n: 0 };

// --- Support of clients ------------------------------------------------------------------------------------

// The features that are used, with their places, and a score of 0 to 100: of each client and of all. Unknown support
// counts neither way; the score of a client of which little is known is null.
export function htmlCheck(html) {
  const text = withoutComments(html.slice(0, HTML_MOST));
  const css = onlyCss(text);
  const tags = text.replace(/(<style\b[^<>]{0,500}>)([^<]+)/gi, (all, tag, sheet) => tag + blank(sheet));
  const body = Math.max(text.search(/<body\b/i), 0);
  const lineOf = lineFinder(text);
  const found = [];
  for (const [name, where, pattern, letters] of FEATURES) {
    const matches = [...(where === 'css' ? css : tags).matchAll(pattern)].filter((match) => where !== 'body' || match.index > body);
    if (matches.length === 0 || (where === 'body' && body === 0)) continue;
    found.push({
      name,
      support: Object.fromEntries(CLIENTS.map((client, index) => [client, letters[index]])),
      count: matches.length,
      places: matches.slice(0, PLACES_MOST).map((match) => ({ line: lineOf(match.index), excerpt: excerpt(text, match) })),
    });
  }
  const clients = CLIENTS.map((client) => ({ client, score: score(found.map((each) => each.support[client])) }));
  found.sort((one, other) => score(Object.values(one.support)) - score(Object.values(other.support)));
  const known = clients.filter((each) => each.score !== null);
  return { found, clients, score: Math.round(known.reduce((sum, each) => sum + each.score, 0) / Math.max(known.length, 1)) };
}

function score(letters) {
  const known = letters.filter((letter) => letter in WEIGHT);
  if (letters.length === 0) return 100;
  if (known.length * 2 < letters.length) return null;
  return Math.round((100 * known.reduce((sum, letter) => sum + WEIGHT[letter], 0)) / known.length);
}

// Spaces in place of a text; line ends stay, so that places do.
const blank = (text) => text.replace(/[^\n]/g, ' ');

// What stands in a comment is for Outlook alone, or for nobody. Found step by step: a pattern would go back over mail
// that opens comments and never closes one, again and again.
function withoutComments(text) {
  const kept = [];
  let from = 0;
  for (;;) {
    const start = text.indexOf('<!--', from);
    const end = start < 0 ? -1 : text.indexOf('-->', start + 4);
    if (end < 0) return kept.join('') + text.slice(from);
    kept.push(text.slice(from, start), blank(text.slice(start, end + 3)));
    from = end + 3;
  }
}

// The text with everything blanked that is neither in a style sheet nor in a `style` attribute.
function onlyCss(text) {
  const kept = [];
  let from = 0;
  const parts = /(<style\b[^<>]{0,500}>)([^<]*)|(<[a-z][^<>]{0,3000}?\sstyle\s*=\s*)("[^"]*"|'[^']*')/gi;
  for (const match of text.matchAll(parts)) {
    const head = (match[1] ?? match[3]).length;
    kept.push(blank(text.slice(from, match.index + head)), match[2] ?? match[4]);
    from = match.index + match[0].length;
  }
  return kept.join('') + blank(text.slice(from));
}

function lineFinder(text) {
  const ends = Array.from(text.matchAll(/\n/g), (match) => match.index);
  return (index) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] < index) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
}

const excerpt = (text, match) => text.slice(match.index, match.index + EXCERPT).replace(/\s+/g, ' ').trim();

// --- Links ---------------------------------------------------------------------------------------------------

// Every link and picture, with what is wrong with it by its looks.
export function linkCheck(html, text) {
  const page = new DOMParser().parseFromString(html ?? '', 'text/html');
  const targets = new Set(Array.from(page.querySelectorAll('[id], a[name]'), (each) => [each.id, each.name]).flat());
  const found = [];
  for (const link of page.querySelectorAll('a, area')) {
    const href = link.getAttribute('href') ?? link.getAttribute('xlink:href');
    const shown = link.textContent.replace(/\s+/g, ' ').trim() || link.querySelector('img')?.alt || link.getAttribute('alt') || '';
    // A name to jump to is no link.
    if (href === null && (link.id || link.getAttribute('name'))) continue;
    found.push({ kind: 'link', url: href ?? '', shown, faults: linkFaults(href ?? '', shown, targets) });
  }
  for (const image of page.querySelectorAll('img')) {
    const url = image.getAttribute('src') ?? '';
    const faults = addressFaults(url);
    if (!image.hasAttribute('alt')) faults.push('no_alt');
    if (/^[01]$/.test(image.getAttribute('width') ?? '') && /^[01]$/.test(image.getAttribute('height') ?? '')) faults.push('pixel');
    found.push({ kind: 'image', url: shortened(url), shown: image.alt ?? '', faults });
  }
  for (const url of new Set((html === null ? text ?? '' : '').match(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/gi) ?? [])) {
    found.push({ kind: 'text', url, shown: '', faults: addressFaults(url) });
  }
  return found;
}

const shortened = (url) => (/^data:/i.test(url) ? `${url.slice(0, 40)}…` : url);

function linkFaults(href, shown, targets) {
  const faults = addressFaults(href);
  const url = href.trim();
  if (/^#./.test(url) && !targets.has(url.slice(1))) faults.push('no_target');
  const promised = domainIn(shown);
  const actual = /^(https?:)?\/\//i.test(url) ? hostOf(url)?.replace(/:\d+$/, '') : null;
  if (promised && actual && !isSameSite(promised, actual)) faults.push('other_domain');
  if (!shown && url) faults.push('no_words');
  return faults;
}

function addressFaults(text) {
  const url = text.trim();
  if (url === '' || url === '#') return ['empty'];
  if (/^(javascript|vbscript):/i.test(url)) return ['script'];
  if (/^(#|mailto:|tel:|sms:|cid:|data:image\/)/i.test(url)) return [];
  if (/^data:/i.test(url)) return ['data'];
  if (/^\/\//.test(url)) return ['no_scheme'];
  if (!/^[a-z][a-z0-9+.-]*:/i.test(url)) return ['relative'];
  const faults = [];
  if (/^http:/i.test(url)) faults.push('no_tls');
  const host = hostOf(url)?.replace(/:\d+$/, '') ?? '';
  if (/^https?:/i.test(url) && (host === '' || host === 'relative.invalid')) faults.push('malformed');
  else if (/^(localhost|.*\.localhost|.*\.local|.*\.test|.*\.internal|127\..*|10\..*|192\.168\..*|172\.(1[6-9]|2\d|3[01])\..*|0\.0\.0\.0|\[.*\])$/.test(host)) faults.push('local');
  else if (/^\d+(\.\d+){3}$/.test(host)) faults.push('number');
  if (!/^https?:/i.test(url)) faults.push('scheme');
  return faults;
}

// A domain that the words of a link name, if they are the words of an address.
function domainIn(shown) {
  const found = /^(?:https?:\/\/)?((?:[\p{L}\p{N}-]+\.)+[\p{L}]{2,})(?:[/:?#]\S*)?$/iu.exec(shown);
  return found ? hostOf(`http://${found[1]}`) : null;
}

// By the last labels: three where the last two are a country's own division.
function isSameSite(one, other) {
  const site = (host) => host.split('.').slice(/\.(co|com|net|org|gov|edu|ac)\.[a-z]{2}$/.test(host) ? -3 : -2).join('.');
  return site(one) === site(other);
}

// --- Size ------------------------------------------------------------------------------------------------------

// Gmail shows the first 102 kB of the HTML and a link to the rest.
export const CLIP = 102 * 1024;
const SUBJECT_MOST = 60;
const PREHEADER = 110;

const size = (text) => new Blob([text]).size;

export function weigh(message) {
  const html = message.html ?? null;
  const source = message.source ?? '';
  const inlines = (message.attachments ?? []).filter((part) => part.content_id);
  const data = Array.from((html ?? '').matchAll(/data:image\/[^"')\s]+/gi), (match) => match[0].length);
  const subject = message.subject ?? '';
  const letters = [...subject].length;
  return {
    source: message.size ?? size(source),
    html: html === null ? null : size(html),
    isClipped: html !== null && size(html) > CLIP,
    inline: { count: inlines.length + data.length, bytes: inlines.reduce((sum, part) => sum + part.size, 0) + data.reduce((sum, each) => sum + each, 0) },
    subject: letters,
    isSubjectLong: letters > SUBJECT_MOST,
    preheader: preheader(html, message.text),
    // The service makes a text of HTML that came without one; the source tells.
    hasText: !/^content-type:/im.test(source) || /^content-type:\s*text\/plain/im.test(source),
    hasUnsubscribe: (message.headers ?? []).some((header) => header.name.toLowerCase() === 'list-unsubscribe'),
  };
}

// The words that a client shows beside the subject: the first of the mail, hidden ones too.
function preheader(html, text) {
  let words = text ?? '';
  if (html !== null) {
    const page = new DOMParser().parseFromString(html, 'text/html');
    for (const found of page.querySelectorAll('style, script, title, template')) found.remove();
    for (const block of page.querySelectorAll('p, div, td, th, li, br, h1, h2, h3, h4, h5, h6')) block.after(' ');
    words = page.body.textContent;
  }
  const plain = words.replace(/[\u200b-\u200d\u00ad\u034f\ufeff]/g, '').replace(/\s+/g, ' ').trim();
  return [...plain].slice(0, PREHEADER).join('');
}
