header('which looks better?', 'Blind comparison', [['pairs', format.count(data.pairs.length)]]);
const content = document.getElementById('content');
const answers = [];
const began = new Date().toISOString();
let shownAt = performance.now();
let saved = true;

const stage = el('section');
const status = el('p.center.muted.small', { role: 'status' });
const progress = el('progress', { max: data.pairs.length, value: 0, 'aria-label': 'Pairs answered' });
content.append(stage);

const labels = { left: 'Left', none: 'Can’t tell', right: 'Right' };
const keys = { ArrowLeft: 'left', ArrowDown: 'none', ArrowRight: 'right' };
const signs = { left: '←', none: '↓', right: '→' };

function choose(choice) {
  const pair = data.pairs[answers.length];
  if (!pair) return;
  answers.push({ source: pair.source, left: pair.key, choice, seconds: Math.round(performance.now() - shownAt) / 1000 });
  saved = false;
  show();
}

function undo() {
  if (answers.pop()) show();
}

function image(pair, side) {
  return el('button', { type: 'button', 'aria-label': `Choose the ${side} picture`, onclick: () => choose(side) },
    el('img', { src: pair[side], alt: `${side} picture`, draggable: 'false' }));
}

function show() {
  progress.value = answers.length;
  const pair = data.pairs[answers.length];
  shownAt = performance.now();
  if (!pair) { finish(); return; }
  status.textContent = `Pair ${answers.length + 1} of ${data.pairs.length}`;
  stage.replaceChildren(
    el('p.center', {}, data.question), status, progress,
    el('div.pair', {}, image(pair, 'left'), image(pair, 'right')),
    el('div.choices', {},
      Object.entries(labels).map(([choice, label]) => el('button', { type: 'button', onclick: () => choose(choice) }, label, el('kbd', { 'aria-hidden': 'true' }, signs[choice]))),
      el('button', { type: 'button', disabled: !answers.length, onclick: undo }, 'Back', el('kbd', { 'aria-hidden': 'true' }, '⌫'))));
}

function finish() {
  status.textContent = 'All pairs are answered.';
  const name = el('input', { type: 'search', 'aria-label': 'Your name', placeholder: 'Your name (may stay empty)', autocomplete: 'off' });
  const save = el('button.main', { type: 'button', onclick: () => download(name.value.trim()) }, 'Download the answers');
  stage.replaceChildren(
    el('p.center', {}, 'Thank you. The answers stay in this page until you download them:'), status, progress,
    el('div.choices', {}, name, save, el('button', { type: 'button', onclick: undo }, 'Back')));
  stage.querySelector('.choices').style.marginTop = '20px';
  save.focus();
}

function download(rater) {
  const record = { ...data.comparison, rater, began, ended: new Date().toISOString(), session: data.session(), answers };
  const address = URL.createObjectURL(new Blob([JSON.stringify(record, null, 2)], { type: 'application/json' }));
  const link = el('a', { href: address, download: `preferences-${rater.replace(/[^\w-]+/g, '_') || record.session}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  saved = true;
  status.textContent = 'Downloaded. `pixelmill preferences FILE...` makes the table.';
}

const session = Array.from(crypto.getRandomValues(new Uint8Array(6)), (n) => n.toString(16).padStart(2, '0')).join('');
data.session = () => session;

addEventListener('keydown', (event) => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key in keys && answers.length < data.pairs.length) { event.preventDefault(); choose(keys[event.key]); }
  if (event.key === 'Backspace') { event.preventDefault(); undo(); }
});
addEventListener('beforeunload', (event) => { if (!saved) event.preventDefault(); });
document.getElementById('foot').append('Which picture is which is not shown; it stands in the answers.');
show();
