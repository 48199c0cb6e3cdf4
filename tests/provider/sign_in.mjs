// Signs in as a person does, without a browser: the code flow with PKCE, the form, password and one-time code.
// Prints the ID token, or another of the tokens if one is wanted.
//
// node sign_in.mjs SIGN_IN.json
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { totp } from './totp.mjs';

const { issuer, client, user, password, secret, wanted } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const jar = new Map();

async function ask(url, options = {}) {
  const headers = { ...options.headers, cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') };
  const response = await fetch(url, { ...options, headers, redirect: 'manual' });
  for (const cookie of response.headers.getSetCookie()) {
    const [name, ...value] = cookie.split(';')[0].split('=');
    jar.set(name, value.join('='));
  }
  if (response.status >= 400) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response;
}

const about = await (await ask(`${issuer}/.well-known/openid-configuration`)).json();
const verifier = randomBytes(32).toString('base64url');
const start = new URL(about.authorization_endpoint);
start.search = new URLSearchParams({
  client_id: client,
  response_type: 'code',
  scope: 'openid email groups',
  redirect_uri: 'https://client.invalid/callback',
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256',
  nonce: randomBytes(16).toString('base64url'),
});
let response = await ask(start);
let code;
for (let step = 0; !code && step < 10; step += 1) {
  const next = new URL(response.headers.get('location'), issuer);
  code = next.searchParams.get('code');
  if (code) break;
  if (next.searchParams.get('error')) throw new Error(next.search);
  response = await ask(next);
  if (response.status === 200) {
    const form = new URLSearchParams({ user, password, code: secret ? totp(secret) : '' });
    response = await ask(next, { method: 'POST', body: form });
  }
}
const tokens = await ask(about.token_endpoint, {
  method: 'POST',
  body: new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: client,
    code,
    code_verifier: verifier,
    redirect_uri: 'https://client.invalid/callback',
  }),
});
console.log((await tokens.json())[wanted ?? 'id_token']);
