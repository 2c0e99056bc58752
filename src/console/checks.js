// The tab of checks: shows what findings.js tells of a mail, and asks the service how a spam filter judges it.

import { CLIP, htmlCheck, linkCheck, weigh } from './findings.js';
import { API } from './list.js';
import { button, bytes, element } from './page.js';
import { ask } from './service.js';
import { t } from './words.js';

const LINKS_MOST = 500;

export function showChecks(panel, message, isWanted) {
  panel.replaceChildren(weightPart(message), clientsPart(message), linksPart(message), spamPart(message, isWanted));
}

const part = (title, ...content) => element('section', 'check', element('h3', '', title), ...content);

// A finding in words and in shape: colour alone says nothing.
const verdict = (isGood, text) => element('li', isGood ? 'good' : 'poor', element('span', 'unseen', t(isGood ? 'good' : 'poor')), text);

// --- Size and words ------------------------------------------------------------------------------------------

function weightPart(message) {
  const weight = weigh(message);
  const list = element('ul', 'verdicts');
  list.append(
    verdict(true, t('size_source', { size: bytes(weight.source) })),
    verdict(!weight.isSubjectLong && weight.subject > 0, t(weight.isSubjectLong ? 'subject_long' : 'subject_length', { count: weight.subject })),
    verdict(weight.hasText, t(weight.hasText ? 'text_present' : 'text_absent')),
    verdict(weight.hasUnsubscribe, t(weight.hasUnsubscribe ? 'unsubscribe_present' : 'unsubscribe_absent')),
  );
  if (weight.html !== null) {
    list.append(verdict(!weight.isClipped, t(weight.isClipped ? 'html_clipped' : 'html_size', { size: bytes(weight.html), most: bytes(CLIP) })));
  }
  if (weight.inline.count) list.append(verdict(weight.inline.bytes < 500_000, t('images_inline', { count: weight.inline.count, size: bytes(weight.inline.bytes) })));
  const preview = element(
    'div',
    'preheader',
    element('strong', '', message.subject || t('no_subject')),
    element('span', 'hint', weight.preheader || t('preheader_none')),
  );
  return part(t('check_size'), list, element('p', 'hint', t('preheader')), preview);
}

// --- Support of clients --------------------------------------------------------------------------------------

function clientsPart(message) {
  if ((message.html ?? null) === null) return part(t('check_html'), element('p', 'hint', t('no_html')));
  const result = htmlCheck(message.html);
  if (result.found.length === 0) return part(t('check_html'), element('p', '', t('html_plain')));
  const scores = element('ul', 'scores');
  scores.append(...result.clients.map(({ client, score }) => scoreItem(client, score)));
  const list = element('ul', 'cards');
  list.append(...result.found.map(featureItem));
  const legend = element('p', 'hint', t('html_source_of'));
  return part(t('check_html'), element('p', 'total', t('html_score', { score: result.score })), scores, list, legend);
}

function scoreItem(client, score) {
  const meter = element('meter');
  Object.assign(meter, { min: 0, max: 100, low: 60, high: 90, optimum: 100, value: score ?? 0 });
  meter.setAttribute('aria-label', client);
  return element('li', '', element('span', '', client), ...(score === null ? [element('span', 'hint', t('unknown'))] : [meter, element('strong', '', `${score} %`)]));
}

function featureItem(found) {
  const by = (letter) => Object.keys(found.support).filter((client) => found.support[client] === letter).join(', ');
  const rows = element('dl', 'support');
  for (const [letter, word] of [['n', 'support_n'], ['p', 'support_p'], ['y', 'support_y'], ['u', 'support_u']]) {
    if (by(letter)) rows.append(element('div', `is-${letter}`, element('dt', '', t(word)), element('dd', '', by(letter))));
  }
  const places = element('ol', 'places');
  places.append(...found.places.map(({ line, excerpt }) => element('li', '', element('span', 'hint', t('line', { line })), element('code', '', excerpt))));
  const shown = element('details', '', element('summary', '', t('places', { count: found.count })), places);
  return element('li', 'card', element('strong', '', element('code', '', found.name)), rows, shown);
}

// --- Links -----------------------------------------------------------------------------------------------------

function linksPart(message) {
  const links = linkCheck(message.html ?? null, message.text ?? '');
  if (links.length === 0) return part(t('check_links'), element('p', 'hint', t('no_links')));
  const poor = links.filter((link) => link.faults.length > 0);
  const list = element('ul', 'cards');
  const sorted = [...poor, ...links.filter((link) => link.faults.length === 0)];
  list.append(...sorted.slice(0, LINKS_MOST).map(linkItem));
  const said = t(poor.length ? 'links_poor' : 'links_good', { count: links.length, poor: poor.length });
  return part(t('check_links'), element('p', 'total', said), list, element('p', 'hint', t('links_local')));
}

function linkItem(link) {
  const faults = element('ul', 'verdicts');
  faults.append(...(link.faults.length ? link.faults.map((fault) => verdict(fault === 'pixel', t(`fault_${fault}`))) : [verdict(true, t('fault_none'))]));
  const head = element('div', 'row', element('span', 'chip', t(`kind_${link.kind}`)), link.shown ? element('span', '', link.shown) : null);
  return element('li', 'card', head, element('code', 'url', link.url || '""'), faults);
}

// --- Spam ------------------------------------------------------------------------------------------------------

function spamPart(message, isWanted) {
  const result = element('div');
  result.setAttribute('role', 'status');
  const run = button(t('spam_run'), async () => {
    run.disabled = true;
    result.replaceChildren(element('p', 'hint', t('loading')));
    const shown = await spamResult(message);
    if (isWanted()) result.replaceChildren(...shown);
    run.disabled = false;
  }, 'primary');
  return part(t('check_spam'), element('p', 'hint', t('spam_about')), run, result);
}

async function spamResult(message) {
  try {
    const answer = await ask(`${API}/${encodeURIComponent(message.id)}/spam-check`, 'POST');
    const score = t(answer.is_spam ? 'spam_yes' : 'spam_no', { score: answer.score, threshold: answer.threshold, engine: answer.engine });
    const rules = element('ul', 'cards');
    const sorted = [...(answer.rules ?? [])].sort((one, other) => other.score - one.score);
    rules.append(...sorted.map((rule) => (
      element('li', 'card', element('div', 'row', element('strong', '', String(rule.score)), element('code', '', rule.name)), element('span', 'hint', rule.description ?? ''))
    )));
    const list = element('ul', 'verdicts');
    list.append(verdict(!answer.is_spam, score));
    return [list, sorted.length ? rules : element('p', 'hint', t('spam_no_rules'))];
  } catch (failure) {
    // The service's own words say what is not set up; a service without this check says 404 or 405.
    if (failure.status === 404 || failure.status === 405) return [element('p', '', t('spam_unavailable'))];
    const said = [element('p', '', failure.problem?.title ?? failure.message)];
    if (failure.problem?.detail) said.push(element('p', 'hint', failure.problem.detail));
    if (failure.status === 403) said.push(element('p', 'hint', t('read_only')));
    return said;
  }
}
