// The sandbox inbox as a whole: the key, the address (`#key=…&message=…&tab=…`), the keyboard, what went wrong, and who
// hears of what. What comes out of mail goes into the page as text only; its HTML goes into a frame without scripts,
// origin or network.

import * as list from './list.js';
import * as message from './message.js';
import { $, kept } from './page.js';
import { Failure, currentKey, isKey, knownKey, useKey } from './service.js';
import { LANGUAGE, fill, language, t } from './words.js';

const THEME = 'mailwright.theme';
// What the notice speaks of: 'list', 'message', 'remove' or 'key'.
let noticeOf = null;
let unread = 0;

// --- What went wrong ---------------------------------------------------------------------------------------

// A key that is not valid is asked for again; one that may only read is told so once and for all.
function report(failure, of, suffix = '') {
  if (failure.status === 401) return forget(failure.message);
  if (failure.status === 403 && of === 'remove') return denyWriting(true);
  notice(failure.message + suffix, of);
}

function notice(text, of = null) {
  if ($('notice').textContent !== text) $('notice').textContent = text;
  $('notice').hidden = !text;
  noticeOf = of;
}

// Takes the notice back when what it speaks of went well.
function mended(of) {
  if (noticeOf === of) notice('');
}

function denyWriting(isDenied) {
  $('read-only').hidden = !isDenied;
  for (const id of ['clear', 'delete']) {
    $(id).dataset.denied = String(isDenied);
    $(id).disabled = isDenied;
  }
  if (isDenied) $('live').textContent = t('read_only');
}

// --- The key -------------------------------------------------------------------------------------------------

function start(key) {
  useKey(key);
  $('login').hidden = true;
  $('inbox').hidden = false;
  $('forget').hidden = false;
  notice('');
  denyWriting(false);
  list.restart();
  const { message: wanted, tab } = readAddress();
  if (wanted) choose(wanted, tab);
}

function forget(why) {
  useKey(null);
  list.stop();
  shut();
  $('inbox').hidden = true;
  $('forget').hidden = true;
  $('login').hidden = false;
  $('key').value = '';
  $('key').focus();
  notice(why, 'key');
}

function signIn(event) {
  event.preventDefault();
  const key = $('key').value.trim();
  $('key').value = '';
  if (isKey(key)) start(key);
  else notice(t('not_a_key'), 'key');
}

// --- What is chosen --------------------------------------------------------------------------------------------

function select(id) {
  if (id !== message.selected()) history.pushState(null, '', address(id, message.tab()));
  // Chosen again, it is shown anew: a link in it may have led its frame away.
  message.discard();
  choose(id, message.tab());
}

function choose(id, tab) {
  list.mark(id);
  message.open(id, tab);
}

function shut() {
  list.mark(null);
  message.close();
}

function back() {
  const left = message.selected();
  history.pushState(null, '', location.pathname + location.search);
  shut();
  list.focus(left);
}

async function remove() {
  const id = message.selected();
  if (!id || $('delete').disabled) return;
  const next = list.heir(id);
  if (!(await list.remove(id))) return;
  $('live').textContent = t('deleted');
  if (next) {
    history.replaceState(null, '', address(next, message.tab()));
    choose(next, message.tab());
  } else {
    history.replaceState(null, '', location.pathname + location.search);
    shut();
  }
}

function clear() {
  $('sure-text').textContent = t('clear_sure');
  $('sure').showModal();
}

async function clearAll() {
  $('sure').close();
  if (!(await list.remove(null))) return;
  history.pushState(null, '', location.pathname + location.search);
  shut();
  $('live').textContent = t('cleared');
}

// --- The address -------------------------------------------------------------------------------------------------

function address(id, tab) {
  const rest = tab && tab !== message.TABS[0] ? `&tab=${tab}` : '';
  return `#message=${encodeURIComponent(id)}${rest}`;
}

// The key is taken out of the address at once.
function readAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get('key');
  const id = fragment.get('message') || null;
  const tab = message.TABS.includes(fragment.get('tab')) ? fragment.get('tab') : message.TABS[0];
  if (key !== null) history.replaceState(null, '', location.pathname + location.search + (id ? address(id, tab) : ''));
  return { key: isKey(key) ? key : null, message: id, tab };
}

function addressChanged() {
  const { key, message: id, tab } = readAddress();
  if (key && key !== currentKey()) {
    shut();
    start(key);
  } else if (id && currentKey()) {
    choose(id, tab);
  } else if (!id) {
    shut();
  }
}

// --- The keyboard --------------------------------------------------------------------------------------------------

function keyPressed(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $('inbox').hidden || document.querySelector('dialog[open]')) return;
  if (key === 'Escape') return escape(target);
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
  const isTab = target.getAttribute?.('role') === 'tab';
  const isPanel = target.getAttribute?.('role') === 'tabpanel';
  const step = { j: 1, k: -1, ...(!isTab && !isPanel && { ArrowDown: 1, ArrowUp: -1 }) }[key];
  if (step) {
    const id = list.near(step);
    if (id) {
      select(id);
      list.show(id);
    }
  } else if (key === '/') {
    if (message.selected() && $('filter').offsetParent === null) back();
    $('filter').focus();
  } else if (key === 'd') {
    remove();
  } else if (key === '?') {
    $('help').showModal();
  } else if (key === 'Enter' && target === document.body && message.selected()) {
    $('subject').focus();
  } else if (/^[1-8]$/.test(key) && message.selected()) {
    $(`tab-${message.TABS[Number(key) - 1]}`).click();
    $(`tab-${message.TABS[Number(key) - 1]}`).focus();
  } else {
    return;
  }
  event.preventDefault();
}

function escape(target) {
  if ($('menu').open) {
    $('menu').open = false;
    $('menu').firstElementChild.focus();
  } else if (target === $('filter')) {
    if ($('filter').value) {
      $('filter').value = '';
      $('filter').dispatchEvent(new Event('input'));
    } else {
      target.blur();
    }
  } else if (message.selected()) {
    back();
  }
}

// --- Look ----------------------------------------------------------------------------------------------------------

function useTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function setUpMenu() {
  $('theme').value = kept.get(THEME) ?? '';
  $('theme').addEventListener('change', () => {
    kept.set(THEME, $('theme').value);
    useTheme($('theme').value);
  });
  $('language').value = language;
  $('language').addEventListener('change', () => {
    kept.set(LANGUAGE, $('language').value);
    location.reload();
  });
  document.addEventListener('click', (event) => {
    if (!$('menu').contains(event.target)) $('menu').open = false;
  });
}

function title() {
  const count = unread ? `(${unread}) ` : '';
  document.title = `${count}${message.subject() ?? t('title')} · Mailwright`;
}

async function main() {
  useTheme(kept.get(THEME) ?? '');
  fill(document);
  setUpMenu();
  list.setUp({ select, report, mended });
  message.setUp({
    report,
    mended,
    shown: title,
    tabChosen: (tab) => history.replaceState(null, '', address(message.selected(), tab)),
  });
  document.addEventListener('unread', (event) => {
    unread = event.detail;
    title();
  });
  $('login').addEventListener('submit', signIn);
  $('forget').addEventListener('click', () => {
    $('menu').open = false;
    forget('');
  });
  $('help-open').addEventListener('click', () => {
    $('menu').open = false;
    $('help').showModal();
  });
  $('help-close').addEventListener('click', () => $('help').close());
  $('clear').addEventListener('click', clear);
  $('sure-no').addEventListener('click', () => $('sure').close());
  $('sure-yes').addEventListener('click', clearAll);
  $('delete').addEventListener('click', remove);
  $('back').addEventListener('click', back);
  document.addEventListener('keydown', keyPressed);
  window.addEventListener('hashchange', addressChanged);
  window.addEventListener('popstate', addressChanged);

  // Another key may not have been asked for while this one was sought.
  const { key } = readAddress();
  const known = key ?? (await knownKey());
  if (currentKey()) return;
  if (isKey(known)) start(known);
  else forget('');
}

// What nobody foresaw is said, not swallowed.
window.addEventListener('unhandledrejection', (event) => {
  if (!(event.reason instanceof Failure)) notice(t('broken', { what: String(event.reason) }));
});

main();
