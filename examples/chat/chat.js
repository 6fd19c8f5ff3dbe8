// The page's side of the chat: one WebSocket, opened again whenever it has closed.
'use strict';

const element = (id) => document.getElementById(id);
const url = new URL('messages', location.href.replace(/^http/, 'ws'));
const maxDelay = 10000;
const maxShown = 500;

let socket;
let failures = 0;

function connect() {
  socket = new WebSocket(url);
  socket.onopen = () => { failures = 0; show('connected'); };
  socket.onmessage = (event) => add(JSON.parse(event.data));
  socket.onclose = () => { show('connecting'); setTimeout(connect, delay()); };
}

// The random part keeps everybody from coming back at the same time after a restart of the server.
function delay() {
  return Math.min(maxDelay, 250 * 2 ** failures++) * (0.5 + Math.random() / 2);
}

function show(state) {
  element('state').textContent = state;
  element('send').disabled = state !== 'connected';
}

// textContent, never innerHTML: what people write is text, whatever it looks like.
function add(message) {
  const line = document.createElement('li');
  const name = document.createElement('b');
  name.textContent = message.name;
  line.append(name, message.text);
  element('messages').append(line);
  if (element('messages').childElementCount > maxShown) element('messages').firstElementChild.remove();
  line.scrollIntoView();
}

element('form').onsubmit = (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ name: element('name').value, text: element('text').value }));
  element('text').value = '';
};

connect();
