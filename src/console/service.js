// What the page asks of the service, with the key that it was given. The key lives here and in the tab's session only.

import { t } from './words.js';

const ANSWER_MS = 15000;
const KEY = 'mailwright.key';

let key = null;
// What stands in a header: visible ASCII.
export const isKey = (text) => typeof text === 'string' && /^[!-~]{1,8192}$/.test(text);
export const currentKey = () => key;

export function useKey(text) {
  key = text;
  try {
    if (text === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, text);
  } catch { /* Then a reload asks again. */ }
}

// Another tab of this page tells its key to a new one, so that nobody types it twice. Nothing is written anywhere.
const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('mailwright.key') : null;
const OTHER_TAB_MS = 200;

tabs?.addEventListener('message', (event) => {
  if (event.data?.wants && key) tabs.postMessage({ key });
});

export function knownKey() {
  try {
    const own = sessionStorage.getItem(KEY);
    if (own) return Promise.resolve(own);
  } catch { /* As if there were none. */ }
  if (!tabs) return Promise.resolve(null);
  return new Promise((resolve) => {
    tabs.addEventListener('message', (event) => {
      if (isKey(event.data?.key)) resolve(event.data.key);
    });
    tabs.postMessage({ wants: true });
    setTimeout(() => resolve(null), OTHER_TAB_MS);
  });
}

// An answer that is not what was asked for. `problem` is the service's own account (RFC 9457).
export class Failure extends Error {
  constructor(status, problem) {
    super(inWords(status, problem?.detail));
    this.status = status;
    this.problem = problem ?? null;
  }

  // Whether the same may go well later.
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function inWords(status, detail) {
  const said = typeof detail === 'string' && detail ? t('said', { detail }) : '';
  const word = { 0: 'unreachable', 401: 'failed_401', 403: 'failed_403', 404: 'failed_404', 422: 'failed_422', 429: 'failed_429', 503: 'failed_503' }[status];
  return t(word ?? 'failed_other', { status, said });
}

export async function ask(path, method = 'GET') {
  const response = await call(path, method);
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw new Failure(response.status, body);
}

export async function askBytes(path) {
  const response = await call(path, 'GET');
  if (response.ok) return response.blob().catch(() => { throw new Failure(0); });
  throw new Failure(response.status, await response.json().catch(() => null));
}

// Every row of a list, as far as `most` pages.
export async function askAll(path, most = 10) {
  const rows = [];
  let cursor = null;
  for (let page = 0; page < most; page += 1) {
    const query = new URLSearchParams({ limit: '500', ...(cursor && { cursor }) });
    const answer = await ask(`${path}?${query}`);
    rows.push(...answer.data);
    cursor = answer.next_cursor ?? null;
    if (cursor === null) break;
  }
  return { rows, more: cursor !== null };
}

async function call(path, method) {
  try {
    return await fetch(path, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      cache: 'no-store',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    throw new Failure(0);
  }
}
