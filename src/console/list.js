// The list of copies: asks for it again and again, searches, pages, keeps what was read, removes. It knows nothing of
// how a message is shown: `setUp` names who hears of a choice and of trouble.

import { $, element, kept, time } from './page.js';
import { ask } from './service.js';
import { t } from './words.js';

export const API = '/v1/sandbox/messages';
const REFRESH_MS = 2000;
const REFRESH_MOST_MS = 10000;
const TYPING_MS = 250;
const READ = 'mailwright.read';
const READ_MOST = 5000;
const REACH_MOST = 10;

const state = {
  active: false,
  sought: '',
  // Rows of the list, newest first, and where the next page begins.
  rows: [],
  cursor: null,
  // Grows when the key or the search changes: an older answer is of no use then.
  turn: 0,
  selected: null,
  timer: null,
  refreshing: false,
  failures: 0,
  awaySince: null,
  // Whether a first page came: what comes after it is new.
  filled: false,
  items: new Map(),
  read: new Set(JSON.parse(kept.get(READ) ?? '[]')),
};

let heard = { select() {}, report() {}, mended() {} };

export function setUp(listeners) {
  heard = listeners;
  $('filter').addEventListener('input', searchChanged);
  $('more').addEventListener('click', loadMore);
  $('read-all').addEventListener('click', () => {
    for (const row of state.rows) state.read.add(row.id);
    keepRead();
    showMarks();
  });
  document.addEventListener('visibilitychange', refresh);
  window.addEventListener('online', refresh);
}

export function restart() {
  state.active = true;
  state.turn += 1;
  state.rows = [];
  state.cursor = null;
  state.refreshing = false;
  state.filled = false;
  $('empty').hidden = true;
  showRows();
  refresh();
}

export function stop() {
  state.active = false;
  state.turn += 1;
  clearTimeout(state.timer);
  state.rows = [];
  state.cursor = null;
  state.awaySince = null;
  state.failures = 0;
  $('state').hidden = true;
  showRows();
}

function pagePath(cursor) {
  const query = new URLSearchParams();
  if (state.sought) query.set('q', state.sought);
  if (cursor) query.set('cursor', cursor);
  const text = query.toString();
  return text ? `${API}?${text}` : API;
}

async function refresh() {
  clearTimeout(state.timer);
  if (!state.active || state.refreshing || document.visibilityState !== 'visible') return;
  const turn = state.turn;
  state.refreshing = true;
  try {
    const page = await ask(pagePath(null));
    if (turn !== state.turn) return;
    state.failures = 0;
    state.awaySince = null;
    const isFirst = !state.filled;
    tellNew(page);
    merge(page);
    heard.mended('list');
    showRows();
    $('empty').textContent = state.sought ? t('none_found', { words: state.sought }) : t('none_yet');
    $('empty').hidden = state.rows.length > 0;
    if (isFirst && state.selected && !state.sought) reach(state.selected);
  } catch (failure) {
    if (turn !== state.turn) return;
    state.failures += 1;
    if (failure.passes) state.awaySince ??= new Date();
    heard.report(failure, 'list', failure.passes ? t('trying_again') : '');
  } finally {
    if (turn === state.turn) {
      state.refreshing = false;
      showState();
      const wait = Math.min(REFRESH_MS * 2 ** Math.min(state.failures, 4), REFRESH_MOST_MS);
      if (state.active) state.timer = setTimeout(refresh, state.failures ? wait : REFRESH_MS);
    }
  }
}

function showState() {
  const away = state.awaySince;
  $('state').hidden = !state.active;
  $('state').classList.toggle('away', away !== null);
  const said = away === null ? t('live') : t('away_since', { time: away.toLocaleTimeString(document.documentElement.lang) });
  if ($('state').textContent !== said) $('state').textContent = said;
}

function tellNew(page) {
  const known = new Set(state.rows.map((row) => row.id));
  const newest = state.rows[0]?.id ?? '';
  const fresh = state.filled ? page.data.filter((row) => !known.has(row.id) && row.id > newest) : [];
  state.filled = true;
  if (fresh.length === 1) $('live').textContent = t('new_one', { subject: fresh[0].subject || t('no_subject') });
  if (fresh.length > 1) $('live').textContent = t('new_many', { count: fresh.length });
}

// Puts the newest page over the rows. What lies below it stays, if no gap is between.
function merge(page) {
  const last = page.data.at(-1)?.id;
  if (page.next_cursor === null || last === undefined) {
    state.rows = page.data;
    state.cursor = null;
    return;
  }
  const meets = state.rows.length > 0 && state.rows[0].id >= last;
  const below = meets ? state.rows.filter((row) => row.id < last) : [];
  state.rows = page.data.concat(below);
  if (below.length === 0) state.cursor = page.next_cursor;
}

// A message that was opened by its link may lie further down: its page is fetched, so that the list shows where it is.
async function reach(id) {
  for (let page = 0; page < REACH_MOST && id === state.selected && !state.items.has(id); page += 1) {
    if (state.cursor === null || id > state.rows.at(-1).id) return;
    const before = state.cursor;
    await loadMore();
    if (state.cursor === before) return;
  }
  show(id);
}

// What stands before the address, without its quotes.
export function nameOf(mailbox) {
  const found = /^\s*(.*?)\s*<[^<>]*>\s*$/.exec(mailbox ?? '');
  return found ? found[1].replace(/^"(.*)"$/, '$1').replace(/\\(.)/g, '$1') : '';
}

export function addressOf(mailbox) {
  return /<([^<>]*)>\s*$/.exec(mailbox ?? '')?.[1] ?? mailbox ?? '';
}

export async function loadMore() {
  const { turn, cursor } = state;
  if (cursor === null || $('more').disabled) return;
  $('more').disabled = true;
  try {
    const page = await ask(pagePath(cursor));
    if (turn !== state.turn || cursor !== state.cursor) return;
    const known = new Set(state.rows.map((row) => row.id));
    state.rows = state.rows.concat(page.data.filter((row) => !known.has(row.id)));
    state.cursor = page.next_cursor;
    showRows();
  } catch (failure) {
    if (turn === state.turn) heard.report(failure, 'list', '');
  } finally {
    $('more').disabled = false;
  }
}

function showRows() {
  $('more').hidden = state.cursor === null;
  const list = $('messages');
  const wanted = state.rows.map((row) => row.id);
  const present = Array.from(list.children, (item) => item.dataset.id);
  if (wanted.length !== present.length || wanted.some((id, index) => id !== present[index])) {
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    const items = new Map(state.rows.map((row) => [row.id, state.items.get(row.id) ?? rowItem(row)]));
    state.items = items;
    list.replaceChildren(...items.values());
    focused?.focus({ preventScroll: true });
  }
  showMarks();
}

function rowItem(row) {
  const item = element('li');
  item.dataset.id = row.id;
  const from = element('span', 'from', nameOf(row.from) || row.from);
  from.title = row.from;
  const head = element('span', 'head', element('span', 'unseen unread-word', t('unread')), from, time(row.received_at));
  const subject = element('span', 'subject', row.subject || t('no_subject'));
  const foot = element('span', 'foot', element('span', 'to', t('to_whom', { to: row.to })));
  if (row.has_attachments) foot.append(element('span', 'mark', t('with_attachments')));
  const pressed = element('button', '', head, subject, foot);
  pressed.type = 'button';
  pressed.addEventListener('click', () => heard.select(row.id));
  item.append(pressed);
  return item;
}

function showMarks() {
  let unread = 0;
  for (const [id, item] of state.items) {
    const isRead = state.read.has(id);
    if (!isRead) unread += 1;
    item.classList.toggle('unread', !isRead);
    item.querySelector('.unread-word').hidden = isRead;
    if (id === state.selected) item.firstChild.setAttribute('aria-current', 'true');
    else item.firstChild.removeAttribute('aria-current');
  }
  const count = `${state.rows.length}${state.cursor === null ? '' : '+'}`;
  $('count').textContent = state.rows.length ? t(unread ? 'count_unread' : 'count', { count, unread }) : '';
  $('read-all').disabled = unread === 0;
  $('clear').disabled = state.rows.length === 0 || $('clear').dataset.denied === 'true';
  document.dispatchEvent(new CustomEvent('unread', { detail: unread }));
}

export function mark(id) {
  state.selected = id;
  if (id !== null && !state.read.has(id)) {
    state.read.add(id);
    keepRead();
  }
  showMarks();
}

function keepRead() {
  if (state.read.size > READ_MOST) state.read = new Set([...state.read].slice(-READ_MOST / 2));
  kept.set(READ, JSON.stringify([...state.read]));
}

let typing = null;

function searchChanged() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const text = $('filter').value.replace(/\p{Cc}/gu, '').trim();
    if (text === state.sought) return;
    state.sought = text;
    if (state.active) restart();
  }, TYPING_MS);
}

// The row so many below the chosen one, or null.
export function near(step) {
  if (state.rows.length === 0) return null;
  const at = state.rows.findIndex((row) => row.id === state.selected);
  if (step > 0 && at + step >= state.rows.length - 1) loadMore();
  const next = Math.min(Math.max(at < 0 ? 0 : at + step, 0), state.rows.length - 1);
  return state.rows[next].id;
}

// Who is chosen when this one goes: the next, or else the one before.
export function heir(id) {
  const at = state.rows.findIndex((row) => row.id === id);
  return state.rows[at + 1]?.id ?? state.rows[at - 1]?.id ?? null;
}

export function show(id) {
  state.items.get(id)?.scrollIntoView({ block: 'nearest' });
}

export function focus(id) {
  (state.items.get(id)?.firstChild ?? $('filter')).focus();
}

// Takes a copy, or all, out of the inbox. Says whether that was done.
export async function remove(id) {
  try {
    await ask(id === null ? API : `${API}/${encodeURIComponent(id)}`, 'DELETE');
    state.rows = id === null ? [] : state.rows.filter((row) => row.id !== id);
    if (id === null) restart();
    else showRows();
    return true;
  } catch (failure) {
    heard.report(failure, 'remove', '');
    return false;
  }
}
