// Finds what a mail's HTML would load from elsewhere. Takes a parsed document that belongs to no window; asks for nothing.

const IN_CSS = /url\(\s*(["']?)((?:https?:)?\/\/[^"')]+)\1\s*\)|@import\s+(["'])((?:https?:)?\/\/[^"']+)\3/gi;
const isRemote = (url) => /^\s*(?:https?:)?\/\//i.test(url ?? '');

// Every address of another server in a style sheet, or in a `style` attribute.
export function cssAddresses(text) {
  return Array.from(text.matchAll(IN_CSS), (found) => found[2] ?? found[4]);
}

const sources = (text) => (text ?? '').split(',').map((each) => each.trim().split(/\s+/)[0]);

// How many addresses could be loaded, how many never are (frames, sound, video, plug-ins), and on which hosts.
export function remoteContent(page) {
  const loadable = new Set();
  const never = new Set();
  const put = (set, url) => { if (isRemote(url)) set.add(url.trim()); };
  for (const found of page.querySelectorAll('img, source, input[type="image" i], image')) {
    const set = found.closest('video, audio') ? never : loadable;
    for (const name of ['src', 'href', 'xlink:href']) put(set, found.getAttribute(name));
    for (const url of sources(found.getAttribute('srcset'))) put(set, url);
  }
  for (const found of page.querySelectorAll('[background]')) put(loadable, found.getAttribute('background'));
  for (const found of page.querySelectorAll('link[rel~="stylesheet" i]')) put(loadable, found.getAttribute('href'));
  for (const found of page.querySelectorAll('style')) cssAddresses(found.textContent).forEach((url) => put(loadable, url));
  for (const found of page.querySelectorAll('[style]')) cssAddresses(found.getAttribute('style')).forEach((url) => put(loadable, url));
  for (const found of page.querySelectorAll('video, audio, iframe, frame, embed, object, script')) {
    for (const name of ['src', 'data', 'poster']) put(never, found.getAttribute(name));
  }
  return { loadable: loadable.size, never: never.size, hosts: hosts(loadable) };
}

function hosts(urls) {
  const found = new Set();
  for (const url of urls) {
    const host = hostOf(url);
    if (host) found.add(host);
  }
  return [...found];
}

export function hostOf(url) {
  try {
    return new URL(url, 'https://relative.invalid').host;
  } catch {
    return null;
  }
}
