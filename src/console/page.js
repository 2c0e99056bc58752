// Small things that every part of the page makes: elements, times, sizes, buttons that copy. Text goes in as text only.

import { language, t } from './words.js';

export const $ = (id) => document.getElementById(id);

// An element with texts and elements in it. Nothing is ever read as HTML.
export function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content.filter((part) => part !== null && part !== undefined));
  return made;
}

export function button(label, pressed, className = '') {
  const made = element('button', className, label);
  made.type = 'button';
  made.addEventListener('click', pressed);
  return made;
}

// Local time; the exact instant shows on hover.
export function time(text, whole = false) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const form = whole ? { dateStyle: 'medium', timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'short' };
  const made = element('time', '', today && !whole ? at.toLocaleTimeString(language) : at.toLocaleString(language, form));
  made.dateTime = text;
  made.title = text;
  return made;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KB`;
  return `${(count / 1024 / 1024).toFixed(1)} MB`;
}

// Copies a text; says so for a moment in its own label and to those who listen.
export function copyButton(text, label = t('copy'), name = '') {
  const made = button(label, () => copy(typeof text === 'function' ? text() : text, made), 'small');
  if (name) made.setAttribute('aria-label', `${label}: ${name}`);
  return made;
}

export async function copy(text, presser) {
  const before = presser.textContent;
  const said = (await put(text)) ? t('copied') : t('copy_failed');
  $('live').textContent = said;
  if (before === t('copied') || before === t('copy_failed')) return;
  presser.textContent = said;
  setTimeout(() => { presser.textContent = before; }, 1500);
}

// The clipboard is only for pages by TLS or on this computer; elsewhere the old way does.
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element('textarea', 'unseen', text);
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    return done;
  }
}

// Opens a page of its own, which knows nothing of this one.
export function outward(url, text = url) {
  const link = element('a', '', text);
  link.href = url;
  link.target = '_blank';
  link.rel = 'noopener noreferrer';
  return link;
}

// Keeps something in this browser, where the browser lets it.
export const kept = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, value); } catch { /* A private window may keep nothing. */ }
  },
};

export function facts(pairs) {
  const list = element('dl', 'facts');
  list.append(...factRows(pairs));
  return list;
}

// Pairs without a value are left out.
export function factRows(pairs) {
  return pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => element('div', '', element('dt', '', name), element('dd', '', ...[value].flat())));
}
