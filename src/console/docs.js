// The API's documentation page: its theme and the address of its samples are those of whoever reads it. Runs before
// RapiDoc, which reads both once from its element.
'use strict';

const page = document.querySelector('rapi-doc');
let kept = null;
try { kept = localStorage.getItem('mailwright.theme'); } catch { /* As the system is. */ }
const system = matchMedia('(prefers-color-scheme: dark)');

function useTheme() {
  const isDark = kept ? kept === 'dark' : system.matches;
  page.setAttribute('theme', isDark ? 'dark' : 'light');
  page.setAttribute('bg-color', isDark ? '#131715' : '#ffffff');
  page.setAttribute('text-color', isDark ? '#e6ebe8' : '#1b211e');
  page.setAttribute('primary-color', isDark ? '#62cbb5' : '#0b6355');
}

page.setAttribute('server-url', location.origin);
useTheme();
system.addEventListener('change', useTheme);
