// The parts of a message as they are: text, source, headers, attachments. Everything of it is shown as text; a picture is
// shown as a picture only if it is of a kind that cannot hold anything else.

import { $, bytes, copy, element, outward } from './page.js';
import { mediaType } from './preview.js';
import { askBytes } from './service.js';
import { t } from './words.js';

// More in one piece makes the page slow; the download has all of it.
const SOURCE_MOST = 1_000_000;
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/i;

const state = { message: null, urls: [] };

export function setUpParts() {
  $('source-of').addEventListener('change', drawSource);
  $('copy-source').addEventListener('click', () => copy(sourceText(), $('copy-source')));
  $('download').addEventListener('click', download);
}

export function clearParts() {
  state.message = null;
  for (const id of ['text', 'source', 'headers', 'attachments']) $(id).replaceChildren();
  for (const url of state.urls) URL.revokeObjectURL(url);
  state.urls = [];
}

export function showText(message) {
  const text = message.text ?? '';
  $('text').replaceChildren(...linked(text));
  $('text').hidden = !text;
  $('no-text').hidden = Boolean(text);
}

// Text in which addresses of pages are links.
function linked(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/gi)) {
    parts.push(text.slice(from, found.index), outward(found[0]));
    from = found.index + found[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

// --- Source ------------------------------------------------------------------------------------------------

export function showSource(message) {
  state.message = message;
  const hasHtml = (message.html ?? null) !== null;
  $('source-of').querySelector('[value="html"]').disabled = !hasHtml;
  if (!hasHtml) $('source-of').value = 'message';
  drawSource();
}

const sourceText = () => ($('source-of').value === 'html' ? state.message?.html : state.message?.source) ?? '';

function drawSource() {
  const text = sourceText();
  $('source').textContent = text.slice(0, SOURCE_MOST);
  $('source-cut').textContent = t('source_cut', { size: bytes(SOURCE_MOST) });
  $('source-cut').hidden = text.length <= SOURCE_MOST;
}

// The bytes that went on the wire. If they are no longer kept, what the copy has: it may have replaced some octets.
async function download() {
  const message = state.message;
  if (!message) return;
  let content;
  try {
    content = await askBytes(`/v1/messages/${encodeURIComponent(message.message_id)}/raw`);
  } catch {
    content = message.source ?? '';
  }
  const url = plainUrl([content]);
  const link = element('a');
  link.href = url;
  link.download = `${message.id}.eml`;
  link.click();
}

// --- Headers -----------------------------------------------------------------------------------------------

export function showHeaders(message) {
  $('headers').replaceChildren(...(message.headers ?? []).map((header) => {
    const value = header.decoded ?? header.value;
    const shown = element('dd', '', value);
    // Encoded-words and folds, for those who look for a fault in them.
    if (header.value.replace(/\s+/g, ' ') !== value.replace(/\s+/g, ' ')) shown.append(element('span', 'raw', header.value));
    return element('div', '', element('dt', '', header.name), shown);
  }));
}

// --- Attachments -------------------------------------------------------------------------------------------

export function showAttachments(message) {
  const attachments = message.attachments ?? [];
  for (const url of state.urls) URL.revokeObjectURL(url);
  state.urls = [];
  $('attachments').replaceChildren(...attachments.map(attachmentItem));
  $('no-attachments').hidden = attachments.length > 0;
}

// Never under its own type: opened in a tab, HTML would be a page of this origin.
function plainUrl(content) {
  const url = URL.createObjectURL(new Blob(content, { type: 'application/octet-stream' }));
  state.urls.push(url);
  return url;
}

function attachmentItem(part, index) {
  const name = part.filename || t('attachment_unnamed', { number: index + 1 });
  const link = element('a', '', name);
  link.href = plainUrl([Uint8Array.from(atob(part.content), (char) => char.charCodeAt(0))]);
  link.download = name;
  const told = [part.content_type, bytes(part.size), part.content_id && `cid:${part.content_id}`];
  const item = element('li', '', link, element('span', 'hint', told.filter(Boolean).join(' · ')));
  if (PICTURES.test(mediaType(part))) {
    const picture = element('img');
    picture.src = `data:${mediaType(part)};base64,${part.content}`;
    picture.alt = t('preview_of', { name });
    item.append(element('div', 'picture', picture));
  }
  return item;
}
