// The tab of events and attempts: what happened to this copy's recipient, and what the mail servers said to each try.

import { button, element, facts, time } from './page.js';
import { askAll } from './service.js';
import { t } from './words.js';

export async function showEvents(panel, message, isWanted) {
  panel.replaceChildren(element('p', 'hint', t('loading')));
  const path = `/v1/messages/${encodeURIComponent(message.message_id)}`;
  try {
    const [events, attempts] = await Promise.all([askAll(`${path}/events`), askAll(`${path}/attempts`)]);
    if (!isWanted()) return;
    const again = button(t('refresh'), () => showEvents(panel, message, isWanted), 'small');
    const isOwn = (row) => row.recipient_id === message.id;
    const others = events.rows.length + attempts.rows.length - events.rows.filter(isOwn).length - attempts.rows.filter(isOwn).length;
    panel.replaceChildren(
      element('div', 'row', element('h3', '', t('events')), again),
      eventList(events.rows.filter(isOwn)),
      element('h3', '', t('attempts')),
      attemptList(attempts.rows.filter(isOwn)),
    );
    if (others) panel.append(element('p', 'hint', t('events_others', { count: others })));
    if (events.more || attempts.more) panel.append(element('p', 'hint', t('list_cut')));
  } catch (failure) {
    if (!isWanted()) return;
    panel.replaceChildren(
      element('p', '', t('events_unavailable')),
      element('p', 'hint', failure.message),
      button(t('refresh'), () => showEvents(panel, message, isWanted), 'small'),
    );
  }
}

// `250 2.0.0 text`, or in words why nothing was heard.
function replyText(reply) {
  return [reply?.code, reply?.enhanced, reply?.text].filter((part) => part !== null && part !== undefined && part !== '').join(' ');
}

function eventList(events) {
  if (events.length === 0) return element('p', 'hint', t('no_events'));
  const list = element('ol', 'steps');
  list.append(...events.map((event) => {
    const item = element(
      'li',
      '',
      element('span', `chip status ${event.type.replace(/^.*\./, '')}`, event.type),
      time(event.occurred_at, true),
    );
    const reply = replyText(event.reply);
    if (reply) item.append(element('code', 'said', reply));
    if (event.attempt) item.append(element('span', 'hint', t('attempt_number', { number: event.attempt })));
    if (event.suppression) item.append(element('span', 'hint', t('suppressed_by', event.suppression)));
    return item;
  }));
  return list;
}

function attemptList(attempts) {
  if (attempts.length === 0) return element('p', 'hint', t('no_attempts'));
  const list = element('ol', 'cards');
  list.append(...attempts.map((attempt) => {
    const host = [attempt.host, attempt.ip && `[${attempt.ip}]`].filter(Boolean).join(' ');
    const item = element(
      'li',
      'card',
      element(
        'div',
        'row',
        element('strong', '', t('attempt_number', { number: attempt.number })),
        element('span', `chip status ${attempt.outcome}`, attempt.outcome),
        time(attempt.started_at, true),
        element('span', 'hint', t('milliseconds', { count: attempt.duration_ms })),
      ),
      facts([
        [t('reply'), replyText(attempt.reply) ? element('code', '', replyText(attempt.reply)) : null],
        [t('host'), host],
        [t('tls'), attempt.tls],
        [t('stage'), attempt.stage],
        [t('rule'), attempt.rule && `${attempt.rule}${attempt.confidence === null ? '' : ` (${attempt.confidence} %)`}`],
        [t('action'), attempt.action],
      ]),
    );
    if (attempt.transcript) {
      const more = element('details', '', element('summary', '', t('transcript')), element('pre', '', attempt.transcript));
      more.open = attempts.length === 1;
      item.append(more);
    }
    return item;
  }));
  return list;
}
