// One message: loads a copy, shows its facts and codes, and keeps the tabs. What stands in a tab belongs to the tab's
// own file; what a tab must ask the service for is asked when the tab is first seen.

import { showChecks } from './checks.js';
import { showEvents } from './events.js';
import { API, addressOf, nameOf } from './list.js';
import { $, bytes, copyButton, element, factRows, outward, time } from './page.js';
import { clearParts, setUpParts, showAttachments, showHeaders, showSource, showText } from './parts.js';
import { clearPreview, setUpPreview, showPreview } from './preview.js';
import { ask, currentKey } from './service.js';
import { showWebhooks } from './webhooks.js';
import { t } from './words.js';

export const TABS = ['html', 'text', 'source', 'headers', 'attachments', 'events', 'webhooks', 'checks'];
const LATE = { events: showEvents, webhooks: showWebhooks, checks: showChecks };
const CODES_MOST = 5;
const LINKS_MOST = 50;

const state = {
  selected: null,
  // The copy that is shown, and the one whose load is under way.
  shown: null,
  loading: null,
  tab: TABS[0],
  message: null,
  // Tabs that were filled for this message.
  filled: new Set(),
};

let heard = { report() {}, mended() {}, shown() {}, tabChosen() {} };

export const selected = () => state.selected;
export const tab = () => state.tab;
export const subject = () => (state.message ? state.message.subject || t('no_subject') : null);

export function setUp(listeners) {
  heard = listeners;
  setUpPreview();
  setUpParts();
  for (const name of TABS) $(`tab-${name}`).addEventListener('click', () => chooseTab(name));
  $('tabs').addEventListener('keydown', tabKey);
}

// The next `open` shows the message anew, even if it is the one that is shown.
export function discard() {
  state.shown = null;
}

export async function open(id, tabName) {
  state.selected = id;
  state.tab = tabName;
  if (state.shown === id) {
    showTab(tabName);
    return;
  }
  if (state.loading === id) return;
  const key = currentKey();
  const isWanted = () => id === state.selected && key === currentKey();
  state.loading = id;
  try {
    const message = await ask(`${API}/${encodeURIComponent(id)}`);
    if (!isWanted()) return;
    show(message);
    heard.mended('message');
  } catch (failure) {
    if (!isWanted()) return;
    // The address stays: a click or a reload tries again.
    close();
    heard.report(failure, 'message');
  } finally {
    if (state.loading === id) state.loading = null;
  }
}

export function close() {
  Object.assign(state, { selected: null, shown: null, loading: null, message: null });
  heard.mended('message');
  clearPreview();
  clearParts();
  for (const id of ['subject', 'facts', 'codes', ...Object.keys(LATE).map((name) => `panel-${name}`)]) $(id).replaceChildren();
  document.body.classList.remove('reading');
  $('message').hidden = true;
  $('nothing').hidden = false;
  heard.shown();
}

function show(message) {
  const isNew = state.message?.id !== message.id;
  state.shown = message.id;
  state.message = message;
  state.filled.clear();
  $('subject').textContent = message.subject || t('no_subject');
  showFacts(message);
  showCodes(message.codes ?? []);
  showPreview(message);
  showText(message);
  showSource(message);
  showHeaders(message);
  showAttachments(message);
  const count = message.attachments?.length ?? 0;
  $('tab-attachments').textContent = count ? t('tab_attachments_count', { count }) : t('tab_attachments');
  for (const name of Object.keys(LATE)) $(`panel-${name}`).replaceChildren();
  $('message').hidden = false;
  $('nothing').hidden = true;
  const isPhone = $('back').offsetParent !== null;
  document.body.classList.add('reading');
  showTab(state.tab === 'html' && (message.html ?? null) === null ? 'text' : state.tab);
  if (isNew) $('message').scrollTop = 0;
  // On a phone the list is gone, and with it what had the focus.
  if (isNew && (isPhone || document.activeElement === document.body)) $('subject').focus({ preventScroll: true });
  heard.shown();
}

// --- Facts -------------------------------------------------------------------------------------------------

const headerOf = (message, name) => {
  const found = (message.headers ?? []).find((header) => header.name.toLowerCase() === name);
  return found ? (found.decoded ?? found.value) : null;
};

function mailbox(text, address) {
  const name = nameOf(text);
  return name && name !== address ? [element('strong', '', name), ` <${address}>`] : address;
}

function showFacts(message) {
  const to = headerOf(message, 'to');
  const toOthers = to !== null && /,/.test(to);
  const isHidden = to === null || !to.toLowerCase().includes(message.to.toLowerCase());
  const pairs = [
    [t('from'), mailbox(message.from, addressOf(message.from))],
    [t('to'), toOthers || isHidden ? to : mailbox(to, message.to)],
    [t('cc'), headerOf(message, 'cc')],
    [t('copy_for'), toOthers || isHidden ? message.to : null],
    [t('reply_to'), headerOf(message, 'reply-to')],
    [t('received'), [time(message.received_at, true), ` · ${bytes(message.size)}`]],
    [t('links'), linkList(message.links ?? [])],
    [t('message_id'), [element('code', '', message.message_id), ' ', copyButton(message.message_id, t('copy'), t('message_id'))]],
  ];
  $('facts').replaceChildren(...factRows(pairs));
  learnMore(message);
}

// The places that the mail leads to, as the service found them.
function linkList(links) {
  const shown = links.filter((url) => /^https?:\/\//i.test(url)).slice(0, LINKS_MOST);
  if (shown.length === 0) return null;
  const list = element('ul', 'links');
  list.append(...shown.map((url) => element('li', '', outward(url))));
  return element('details', '', element('summary', '', String(links.length)), list);
}

// What only the message knows, and not its copy. Without it the page is whole all the same.
async function learnMore(message) {
  try {
    const more = await ask(`/v1/messages/${encodeURIComponent(message.message_id)}`);
    if (state.message !== message) return;
    const own = more.recipients?.find((recipient) => recipient.id === message.id);
    const metadata = Object.entries(more.metadata ?? {}).map(([name, value]) => element('span', 'chip', `${name}: ${value}`));
    const tags = (more.tags ?? []).map((name) => element('span', 'chip', name));
    $('facts').append(...factRows([
      [t('status'), own ? element('span', `chip status ${own.status}`, t(`status_${own.status}`)) : null],
      [t('template'), more.template],
      [t('tags'), tags.length ? tags : null],
      [t('metadata'), metadata.length ? metadata : null],
    ]));
  } catch { /* The copy may outlive its message. */ }
}

// A code is what one most often looks for in test mail.
function showCodes(codes) {
  $('codes').hidden = codes.length === 0;
  $('codes').replaceChildren(...codes.slice(0, CODES_MOST).map((code) => (
    element('li', '', element('span', 'hint', t('code')), element('code', '', code), copyButton(code, t('copy'), code))
  )));
}

// --- Tabs ----------------------------------------------------------------------------------------------------

// A tab that was clicked is kept for the next message; one that was shown for want of HTML is not.
function chooseTab(name) {
  state.tab = name;
  showTab(name);
  heard.tabChosen(name);
}

function showTab(name) {
  for (const each of TABS) {
    const chosen = each === name;
    $(`tab-${each}`).setAttribute('aria-selected', String(chosen));
    $(`tab-${each}`).tabIndex = chosen ? 0 : -1;
    $(`panel-${each}`).hidden = !chosen;
  }
  if (LATE[name] && state.message && !state.filled.has(name)) {
    state.filled.add(name);
    const message = state.message;
    LATE[name]($(`panel-${name}`), message, () => state.message === message);
  }
}

function tabKey(event) {
  const index = TABS.findIndex((name) => event.target.id === `tab-${name}`);
  const to = {
    ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: TABS.length - 1,
  }[event.key];
  if (to === undefined || index < 0) return;
  event.preventDefault();
  const next = $(`tab-${TABS[(to + TABS.length) % TABS.length]}`);
  next.focus();
  next.click();
}
