// Azurite's blob service with sorted listings.
//
// Azurite lists all blobs of a page and then all prefixes, where Azure sorts both together by name. Hadoop's ABFS
// driver relies on that order: unsorted, it sees each directory twice (as its marker blob and as its prefix), and
// the commit of a partitioned write fails. This script stands between the HTTP server and Azurite's handlers and
// sorts the entries of <Blobs> in each listing. Pages are contiguous in name order already, so that no entry has
// to move from one to another.
//
// It also counts the bytes of its answers to requests for a blob's content: GET /-/bytes-read.
//
// Usage: node azurite.js PATH/TO/azurite/dist/src/blob/main.js [Azurite's options]
// AZURITE_ACCOUNTS=NAME:KEY is the account; where LAKE_CONTAINER is set, that container is created in it. With
// LAKE_CLOCK the service's clock is ahead of this machine's by so many seconds, or behind it.

'use strict';

const crypto = require('crypto');
const http = require('http');
const https = require('https');

const ENTITIES = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function unescapeXml(text) {
  return text.replace(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex ? parseInt(hex, 16) : Number(decimal));
  });
}

// The name that an entry sorts by, as UTF-8: Azure compares code points, JavaScript's < compares UTF-16 units.
function sortKey(entry) {
  const name = /<Name(\s[^>]*)?>([\s\S]*?)<\/Name>/.exec(entry);
  if (!name) return Buffer.alloc(0);
  const text = unescapeXml(name[2]);
  const encoded = /\bEncoded\s*=\s*["']true["']/i.test(name[1] ?? '');
  return Buffer.from(encoded ? decodeURIComponent(text) : text);
}

// The elements at the top level of `xml`, as text. Metadata may use any tag name, so depth is counted.
function elements(xml) {
  const found = [];
  let depth = 0;
  let begin = 0;
  for (const tag of xml.matchAll(/<(\/?)[^\s\/>!?][^>]*?(\/?)>/g)) {
    const [text, closing, empty] = tag;
    if (!closing && depth === 0) begin = tag.index;
    if (closing) depth -= 1;
    else if (!empty) depth += 1;
    if (depth === 0) found.push(xml.slice(begin, tag.index + text.length));
  }
  return found;
}

// A "List Blobs" answer with the entries of <Blobs> sorted by name and dated; anything else comes back as it is.
function sortListing(xml) {
  const begin = xml.indexOf('<Blobs>');
  const end = xml.lastIndexOf('</Blobs>');
  if (begin < 0 || end < 0) return xml;
  const inside = begin + '<Blobs>'.length;
  const sorted = elements(xml.slice(inside, end))
    .map((entry) => [sortKey(entry), entry])
    .sort((a, b) => Buffer.compare(a[0], b[0]))
    .map((pair) => dated(pair[1]));
  return xml.slice(0, inside) + sorted.join('') + xml.slice(end);
}

// Azurite gives prefixes no properties. The driver then takes the time 0, but logs an error for each of them.
function dated(entry) {
  if (!entry.startsWith('<BlobPrefix>') || entry.includes('<Properties>')) return entry;
  const properties = '<Properties><Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified></Properties>';
  return entry.replace('</BlobPrefix>', () => `${properties}</BlobPrefix>`);
}

function isListing(request) {
  const query = new URL(request.url, 'http://lake').searchParams;
  return request.method === 'GET' && query.get('comp') === 'list' && query.get('restype') === 'container';
}

// All bytes of answers that carry a blob's content, headers included, since the start.
let bytesRead = 0;

function isContent(request) {
  return request.method === 'GET' && !new URL(request.url, 'http://lake').search.match(/[?&](comp|restype)=/);
}

// A connection serves one request after the other, so that what it sends until the answer is closed is the answer.
function countAnswer(request, response) {
  const { socket } = request;
  const before = socket.bytesWritten;
  response.on('close', () => {
    bytesRead += socket.bytesWritten - before;
  });
}

// Holds the answer back until it is whole, and sends it sorted.
function sortAnswer(response) {
  const chunks = [];
  const { end } = response;
  const keep = (chunk, encoding) => {
    if (chunk && typeof chunk !== 'function') chunks.push(Buffer.from(chunk, typeof encoding === 'string' ? encoding : undefined));
  };
  response.write = (chunk, encoding, callback) => {
    keep(chunk, encoding);
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done);
    return true;
  };
  response.end = (chunk, encoding, callback) => {
    keep(chunk, encoding);
    delete response.write;
    delete response.end;
    const body = Buffer.from(sortListing(Buffer.concat(chunks).toString('utf8')), 'utf8');
    if (!response.headersSent) response.setHeader('content-length', body.length);
    return end.call(response, body, [chunk, encoding, callback].find((given) => typeof given === 'function'));
  };
}

// Creates the container by a request signed with the account's key ("Shared Key" of the Blob service).
function createContainer(container, port) {
  const [account, key] = process.env.AZURITE_ACCOUNTS.split(':');
  const headers = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2021-08-06' };
  const signed = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const resource = `/${account}/${account}/${container}\nrestype:container`;
  const text = `PUT${'\n'.repeat(12)}${signed.join('')}${resource}`;
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(text, 'utf8').digest('base64');
  headers.authorization = `SharedKey ${account}:${signature}`;
  const path = `/${account}/${container}?restype=container`;
  http
    .request({ host: '127.0.0.1', port, path, method: 'PUT', headers }, (answer) => {
      answer.resume();
      const done = answer.statusCode === 201 || answer.statusCode === 409; // 409: it is there already
      console.log(`container ${container}: ${done ? 'ready' : `refused with ${answer.statusCode}`}`);
    })
    .end();
}

const clock = 1000 * Number(process.env.LAKE_CLOCK ?? 0);

function setClock() {
  const now = () => RealDate.now() + clock;
  const RealDate = Date;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, given) => (given.length ? new target(...given) : new target(now())),
    get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
  });
}

function serve(azurite, options) {
  if (clock) setClock();
  for (const { Server } of [http, https]) intercept(Server.prototype);
  process.argv = [process.argv[0], azurite, ...options];
  require(azurite);
}

function intercept(prototype) {
  const { emit } = prototype;
  prototype.emit = function (event, request, response) {
    if (event === 'request' && request.url === '/-/bytes-read') {
      response.end(String(bytesRead));
      return true;
    }
    if (event === 'request' && clock) response.setHeader('Date', new Date().toUTCString());
    if (event === 'request' && isContent(request)) countAnswer(request, response);
    if (event === 'request' && isListing(request)) sortAnswer(response);
    if (event === 'listening' && process.env.LAKE_CONTAINER) {
      createContainer(process.env.LAKE_CONTAINER, this.address().port);
    }
    return emit.apply(this, arguments);
  };
}

module.exports = { sortListing };

if (require.main === module) serve(require('path').resolve(process.argv[2]), process.argv.slice(3));
