// The sandbox inbox: lists what test keys sent, and shows one message. What comes out of mail goes into the
// page as text only; its HTML goes into a frame without scripts, origin or network.
'use strict';

const API = '/v1/sandbox/messages';
const KEY = 'mailwright.key';
const REFRESH_MS = 2000;
const TYPING_MS = 250;
const ANSWER_MS = 15000;
// Nothing is loaded but what the message carries.
const framePolicy = (images) =>
  `default-src 'none'; img-src data:${images ? ' http: https:' : ''}; style-src 'unsafe-inline'; font-src data:`;
const TABS = ['html', 'text', 'headers', 'source', 'attachments'];

const $ = (id) => document.getElementById(id);

const state = {
  key: null,
  // What is sought: a whole address is the recipient's, other words stand anywhere.
  sought: '',
  // Rows of the list, newest first, and where the next page begins.
  rows: [],
  cursor: null,
  // Grows when the key or the filter changes: an older answer is of no use then.
  turn: 0,
  selected: null,
  // The copy that is shown, and the one whose load is under way.
  shown: null,
  loading: null,
  tab: 'html',
  timer: null,
  refreshing: false,
  // What the notice speaks of: 'list', 'message' or 'key'.
  noticeOf: null,
  items: new Map(),
  urls: [],
  // The message that is shown, to show it anew in another way.
  message: null,
};

// --- The service ---------------------------------------------------------------------------------------

class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, method = 'GET') {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { Authorization: `Bearer ${state.key}` },
      cache: 'no-store',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    throw new Failure(0, 'Cannot reach the service.');
  }
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw new Failure(response.status, inWords(response.status, body?.detail));
}

function inWords(status, detail) {
  const said = typeof detail === 'string' && detail ? `: ${detail}` : '';
  if (status === 401) return `The key is not valid${said}.`;
  if (status === 403) return `The key may not read messages${said}.`;
  if (status === 404) return 'There is no such message in the inbox of this key’s project.';
  if (status === 422) return `The service refused the request${said}.`;
  if (status === 503) return `The service is busy${said}.`;
  return `The service answered ${status}${said}.`;
}

// Says what went wrong; a key that is not valid is asked for again.
function report(failure, of, suffix = '') {
  if (failure.status === 401) forget(failure.message);
  else notice(failure.message + suffix, of);
}

function notice(text, of = null) {
  if ($('notice').textContent !== text) $('notice').textContent = text;
  $('notice').hidden = !text;
  state.noticeOf = of;
}

// Takes the notice back when what it speaks of went well.
function mended(of) {
  if (state.noticeOf === of) notice('');
}

// --- The key ---------------------------------------------------------------------------------------------

// What stands in a header: visible ASCII.
const isKey = (text) => /^[!-~]{1,8192}$/.test(text);

function start(key) {
  state.key = key;
  sessionStorage.setItem(KEY, key);
  $('login').hidden = true;
  $('inbox').hidden = false;
  $('forget').hidden = false;
  notice('');
  restart();
  if (state.selected) open(state.selected);
}

function forget(why) {
  state.key = null;
  state.turn += 1;
  sessionStorage.removeItem(KEY);
  clearTimeout(state.timer);
  state.rows = [];
  state.cursor = null;
  showRows();
  close();
  askForKey();
  notice(why, 'key');
}

function askForKey() {
  $('inbox').hidden = true;
  $('forget').hidden = true;
  $('login').hidden = false;
  $('key').value = '';
  $('key').focus();
}

// --- The list --------------------------------------------------------------------------------------------

function restart() {
  state.turn += 1;
  state.rows = [];
  state.cursor = null;
  state.refreshing = false;
  $('empty').hidden = true;
  showRows();
  refresh();
}

function pagePath(cursor) {
  const query = new URLSearchParams();
  const isAddress = /^[^\s@]+@[^\s@]+\.[^\s@.]+$/.test(state.sought);
  if (state.sought) query.set(isAddress ? 'to' : 'q', state.sought);
  if (cursor) query.set('cursor', cursor);
  const text = query.toString();
  return text ? `${API}?${text}` : API;
}

async function refresh() {
  clearTimeout(state.timer);
  if (!state.key || state.refreshing || document.visibilityState !== 'visible') return;
  const turn = state.turn;
  state.refreshing = true;
  try {
    const page = await ask(pagePath(null));
    if (turn !== state.turn) return;
    merge(page);
    mended('list');
    showRows();
    $('empty').textContent = state.sought ? `No mail with ${state.sought}.` : 'No mail yet. What a test key sends appears here.';
    $('empty').hidden = state.rows.length > 0;
  } catch (failure) {
    if (turn === state.turn) report(failure, 'list', failure.status === 422 ? '' : ' Trying again.');
  } finally {
    if (turn === state.turn) {
      state.refreshing = false;
      if (state.key) state.timer = setTimeout(refresh, REFRESH_MS);
    }
  }
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

async function loadMore() {
  const turn = state.turn;
  const cursor = state.cursor;
  $('more').disabled = true;
  try {
    const page = await ask(pagePath(cursor));
    if (turn !== state.turn || cursor !== state.cursor) return;
    const known = new Set(state.rows.map((row) => row.id));
    state.rows = state.rows.concat(page.data.filter((row) => !known.has(row.id)));
    state.cursor = page.next_cursor;
    showRows();
  } catch (failure) {
    if (turn === state.turn) report(failure, 'list');
  } finally {
    $('more').disabled = false;
  }
}

function showRows() {
  $('more').hidden = state.cursor === null;
  const list = $('messages');
  const wanted = state.rows.map((row) => row.id);
  const present = Array.from(list.children, (item) => item.dataset.id);
  if (wanted.length === present.length && wanted.every((id, index) => id === present[index])) return;
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const items = new Map(state.rows.map((row) => [row.id, state.items.get(row.id) ?? rowItem(row)]));
  state.items = items;
  list.replaceChildren(...items.values());
  focused?.focus({ preventScroll: true });
  markSelected();
}

function rowItem(row) {
  const item = document.createElement('li');
  item.dataset.id = row.id;
  const button = document.createElement('button');
  button.type = 'button';
  button.append(
    element('span', 'subject', row.subject || '(no subject)'),
    time(row.received_at),
    element('span', 'from', row.from),
    element('span', 'to', `to ${row.to}`),
  );
  if (row.has_attachments) button.append(element('span', 'mark', 'with attachments'));
  button.addEventListener('click', () => select(row.id));
  item.append(button);
  return item;
}

function markSelected() {
  for (const [id, item] of state.items) {
    if (id === state.selected) item.firstChild.setAttribute('aria-current', 'true');
    else item.firstChild.removeAttribute('aria-current');
  }
}

let typing = null;

function filterChanged() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const text = $('filter').value.trim();
    if (text === state.sought) return;
    state.sought = text;
    if (state.key) restart();
  }, TYPING_MS);
}

// Asks the service to take copies out of the inbox; what is shown follows.
async function remove(path) {
  try {
    await ask(path, 'DELETE');
    history.pushState(null, '', '#');
    close();
    restart();
  } catch (failure) {
    report(failure, 'list');
  }
}

// The arrows, or j and k, go through the list.
function keyPressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (!step || event.target.getAttribute?.('role') === 'tab' || state.rows.length === 0) return;
  const at = state.rows.findIndex((row) => row.id === state.selected);
  const next = state.rows[Math.min(Math.max(at + step, 0), state.rows.length - 1)];
  event.preventDefault();
  select(next.id);
  state.items.get(next.id)?.scrollIntoView({ block: 'nearest' });
}

// --- One message -------------------------------------------------------------------------------------------

function select(id) {
  if (id !== state.selected) history.pushState(null, '', `#message=${encodeURIComponent(id)}`);
  // Chosen again, it is shown anew: a link in it may have led its frame away.
  state.shown = null;
  open(id);
}

async function open(id) {
  state.selected = id;
  markSelected();
  if (!state.key || state.shown === id || state.loading === id) return;
  const key = state.key;
  const isWanted = () => id === state.selected && key === state.key;
  state.loading = id;
  try {
    const message = await ask(`${API}/${encodeURIComponent(id)}`);
    if (!isWanted()) return;
    show(message);
    mended('message');
  } catch (failure) {
    if (!isWanted()) return;
    // The address stays: a click or a reload tries again.
    close();
    report(failure, 'message');
  } finally {
    if (state.loading === id) state.loading = null;
  }
}

function close() {
  state.selected = null;
  state.shown = null;
  state.message = null;
  state.loading = null;
  mended('message');
  markSelected();
  revokeUrls();
  setFrame(null);
  for (const id of ['subject', 'from', 'to', 'received', 'message-id', 'text', 'headers', 'source', 'attachments']) {
    $(id).replaceChildren();
  }
  $('message').hidden = true;
  $('nothing').hidden = false;
  document.title = 'Sandbox inbox · Mailwright';
}

function show(message) {
  const attachments = message.attachments ?? [];
  const html = message.html ?? null;
  const text = message.text ?? '';
  state.shown = message.id;
  state.message = message;
  $('images').checked = false;
  $('subject').textContent = message.subject || '(no subject)';
  $('from').textContent = message.from;
  $('to').textContent = message.to;
  $('received').replaceChildren(time(message.received_at), ` · ${bytes(message.size)}`);
  $('message-id').textContent = message.message_id;
  document.title = `${message.subject || '(no subject)'} · Mailwright`;

  setFrame(html === null ? null : frameDocument(html, attachments));
  $('no-html').hidden = html !== null;

  $('text').replaceChildren(...linked(text));
  $('text').hidden = !text;
  $('no-text').hidden = Boolean(text);
  $('headers').replaceChildren(...(message.headers ?? []).map(headerItem));
  $('source').textContent = message.source ?? '';

  revokeUrls();
  $('attachments').replaceChildren(...attachments.map(attachmentItem));
  $('no-attachments').hidden = attachments.length > 0;
  const count = attachments.length ? ` (${attachments.length})` : '';
  $('tab-attachments').textContent = `Attachments${count}`;

  showTab(state.tab === 'html' && html === null ? 'text' : state.tab);
  $('message').hidden = false;
  $('nothing').hidden = true;
}

// A new frame each time: another document in the old one would be a step of the browser's history.
function setFrame(content) {
  const frame = $('html').cloneNode(false);
  frame.removeAttribute('srcdoc');
  if (content !== null) frame.srcdoc = content;
  frame.hidden = content === null;
  $('html').replaceWith(frame);
}

// The mail's HTML behind a policy that its own markup cannot take back.
function frameDocument(html, attachments) {
  const images = new Map();
  for (const part of attachments) {
    if (part.content_id) images.set(part.content_id.replace(/^<|>$/g, ''), part);
  }
  const shown = html.replace(/(["'(=]\s*)cid:([^"'()\s>]+)/gi, (all, before, id) => {
    const part = images.get(id) ?? images.get(decoded(id));
    return part ? `${before}data:${mediaType(part)};base64,${part.content}` : all;
  });
  // Hints to connect are heeded before any policy; what names another base or policy is not the mail's to say.
  const page = new DOMParser().parseFromString(shown, 'text/html');
  for (const found of page.querySelectorAll('link, meta[http-equiv], base')) found.remove();
  // A link opens a page of its own, which knows nothing of this one.
  for (const link of page.querySelectorAll('a[href], area[href]')) {
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer');
  }
  const policy = `<meta http-equiv="Content-Security-Policy" content="${framePolicy($('images').checked)}">`;
  return `<!doctype html>${policy}${page.documentElement.outerHTML}`;
}

// Text in which addresses of pages are links.
function linked(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/gi)) {
    const link = element('a', '', found[0]);
    link.href = found[0];
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    parts.push(text.slice(from, found.index), link);
    from = found.index + found[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function mediaType(part) {
  const type = part.content_type ?? '';
  return /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) ? type : 'application/octet-stream';
}

function headerItem(header) {
  const item = document.createElement('div');
  item.append(element('dt', '', header.name), element('dd', '', header.decoded ?? header.value));
  return item;
}

function attachmentItem(part, index) {
  const name = part.filename || `attachment-${index + 1}`;
  const content = Uint8Array.from(atob(part.content), (char) => char.charCodeAt(0));
  // Never under its own type: opened in a tab, HTML would be a page of this origin.
  const url = URL.createObjectURL(new Blob([content], { type: 'application/octet-stream' }));
  state.urls.push(url);
  const link = element('a', '', name);
  link.href = url;
  link.download = name;
  const facts = [part.content_type, bytes(part.size), part.content_id && `cid:${part.content_id}`];
  const item = document.createElement('li');
  item.append(link, element('span', 'hint', facts.filter(Boolean).join(' · ')));
  return item;
}

function revokeUrls() {
  for (const url of state.urls) URL.revokeObjectURL(url);
  state.urls = [];
}

// Shows a tab for this message only; a click also keeps it for the next.
function showTab(name) {
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute('aria-selected', String(chosen));
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`panel-${tab}`).hidden = !chosen;
  }
}

function tabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const index = TABS.findIndex((tab) => event.target.id === `tab-${tab}`);
  if (!step || index < 0) return;
  event.preventDefault();
  const next = $(`tab-${TABS[(index + step + TABS.length) % TABS.length]}`);
  next.focus();
  next.click();
}

// --- Small things ------------------------------------------------------------------------------------------

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function time(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const form = { dateStyle: 'medium', timeStyle: 'short' };
  const shown = today ? at.toLocaleTimeString() : at.toLocaleString(undefined, form);
  const made = element('time', '', shown);
  made.dateTime = text;
  made.title = text;
  return made;
}

function bytes(count) {
  if (count < 1024) return `${count} bytes`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

// --- The address -------------------------------------------------------------------------------------------

// Reads `#key=…&message=…`. The key is taken out of the address at once.
function readAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get('key');
  const message = fragment.get('message') || null;
  if (key !== null) {
    const rest = message ? `#message=${encodeURIComponent(message)}` : '';
    history.replaceState(null, '', location.pathname + location.search + rest);
  }
  return { key: key && isKey(key) ? key : null, message };
}

function addressChanged() {
  const { key, message } = readAddress();
  if (message) state.selected = message;
  else close();
  if (key && key !== state.key) {
    close();
    state.selected = message;
    start(key);
  } else if (message) {
    open(message);
  }
}

function main() {
  $('login').addEventListener('submit', (event) => {
    event.preventDefault();
    const key = $('key').value.trim();
    $('key').value = '';
    if (isKey(key)) {
      // A failed key took the choice with it; the address still has it.
      state.selected = readAddress().message;
      start(key);
    } else {
      notice('This is not a key: it has spaces or other characters that a key cannot have.', 'key');
    }
  });
  $('forget').addEventListener('click', () => forget(''));
  $('filter').addEventListener('input', filterChanged);
  $('more').addEventListener('click', loadMore);
  $('clear').addEventListener('click', () => {
    if (window.confirm('Take every message out of this inbox?')) remove(API);
  });
  $('delete').addEventListener('click', () => remove(`${API}/${encodeURIComponent(state.shown)}`));
  $('images').addEventListener('change', () => {
    if (state.message?.html) setFrame(frameDocument(state.message.html, state.message.attachments ?? []));
  });
  $('narrow').addEventListener('change', () => {
    $('panel-html').classList.toggle('narrow', $('narrow').checked);
  });
  document.addEventListener('keydown', keyPressed);
  $('back').addEventListener('click', () => {
    history.pushState(null, '', location.pathname + location.search);
    close();
  });
  for (const tab of TABS) {
    $(`tab-${tab}`).addEventListener('click', () => {
      state.tab = tab;
      showTab(tab);
    });
  }
  $('tabs').addEventListener('keydown', tabKey);
  document.addEventListener('visibilitychange', refresh);
  window.addEventListener('hashchange', addressChanged);
  window.addEventListener('popstate', addressChanged);

  const { key, message } = readAddress();
  state.selected = message;
  const known = key ?? sessionStorage.getItem(KEY);
  if (known) start(known);
  else askForKey();
}

main();
