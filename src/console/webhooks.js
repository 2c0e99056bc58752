// The tab of webhook calls: which endpoint was told what of this message, and what it answered.

import { button, element, facts, time } from './page.js';
import { ask } from './service.js';
import { t } from './words.js';

export async function showWebhooks(panel, message, isWanted) {
  panel.replaceChildren(element('p', 'hint', t('loading')));
  const again = button(t('refresh'), () => showWebhooks(panel, message, isWanted), 'small');
  try {
    const answer = await ask(`/v1/messages/${encodeURIComponent(message.message_id)}/webhooks`);
    if (!isWanted()) return;
    const calls = answer.data ?? [];
    const list = element('ol', 'cards');
    list.append(...calls.map(callItem));
    panel.replaceChildren(
      element('div', 'row', element('h3', '', t('webhook_calls')), again),
      calls.length ? list : element('p', 'hint', t('no_webhooks')),
    );
  } catch (failure) {
    if (!isWanted()) return;
    // A service without this list, or a key that may not see it.
    const isAbsent = failure.status === 404 || failure.status === 403;
    panel.replaceChildren(element('p', '', t('webhooks_unavailable')), element('p', 'hint', isAbsent ? t('webhooks_why') : failure.message), again);
  }
}

function callItem(call) {
  const tries = element('ol', 'steps');
  tries.append(...(call.tries ?? []).map(tryItem));
  const item = element(
    'li',
    'card',
    element(
      'div',
      'row',
      element('strong', '', call.event_type),
      element('span', `chip status ${call.status}`, t(`webhook_${call.status}`)),
      element('span', 'hint', t('tries', { count: call.attempts })),
    ),
    facts([
      // The address of an endpoint is someone's own words: it is told, never linked.
      [t('endpoint'), element('code', '', call.url)],
      [t('answer'), code(call.response_code)],
      [t('detail'), call.detail],
      [t('next_try'), call.next_try_at ? time(call.next_try_at, true) : null],
      [t('settled'), call.settled_at ? time(call.settled_at, true) : null],
      [t('ids'), element('code', '', [call.id, call.event_id, call.webhook_id].filter(Boolean).join(' '))],
    ]),
  );
  if (call.tries?.length) item.append(tries);
  return item;
}

const code = (number) => (number === null || number === undefined ? null : element('code', '', `HTTP ${number}`));

function tryItem(made) {
  const item = element(
    'li',
    '',
    time(made.at, true),
    code(made.response_code) ?? element('span', '', t('no_answer')),
    element('span', 'hint', t('milliseconds', { count: made.duration_ms })),
  );
  if (made.detail) item.append(element('span', '', made.detail));
  if (made.answer) item.append(element('pre', 'said', made.answer));
  return item;
}
