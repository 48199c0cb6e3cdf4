// One HTTPS request. Prints the answer's status and body as JSON.
//
// node ask.mjs ASK.json
import { readFileSync } from 'node:fs';

const { url, ...options } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const response = await fetch(url, options);
console.log(JSON.stringify({ status: response.status, body: await response.text() }));
