// Another OpenID provider, glewlwyd, through the API that its own pages use.
//
// node glewlwyd.mjs make ABOUT.json      a new one gets OpenID Connect, a second factor, a client and a user
// node glewlwyd.mjs sign_in ABOUT.json   signs the user in; prints two ID tokens of this sign-in, a line each: the first
//                                        by the browser that has the session, the second by a client without it
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { totp } from './totp.mjs';

const [, , what, path] = process.argv;
const about = JSON.parse(readFileSync(path, 'utf8'));
const { url, client, user, password, secret } = about;
const redirect = 'https://client.invalid/callback';

// A browser: it keeps cookies and follows no redirection by itself.
function browser() {
  const jar = new Map();
  return async (method, where, { json, form } = {}) => {
    const headers = { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') };
    if (json) headers['content-type'] = 'application/json';
    const body = json ? JSON.stringify(json) : form && new URLSearchParams(form);
    const response = await fetch(url + where, { method, headers, body, redirect: 'manual' });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, ...value] = cookie.split(';')[0].split('=');
      jar.set(name, value.join('='));
    }
    if (response.status >= 400) throw new Error(`${method} ${where}: ${response.status} ${await response.text()}`);
    return response;
  };
}

function base32(text) {
  const bits = [...Buffer.from(text)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits.match(/.{1,5}/g).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

const withPassword = (ask) => ask('POST', '/api/auth', { json: { username: user.name, password } });

const plugin = {
  module: 'oidc',
  name: 'oidc',
  display_name: 'OpenID Connect',
  parameters: {
    iss: `${url}/api/oidc`,
    'jwt-type': 'rsa',
    'jwt-key-size': '256',
    key: about.key,
    cert: about.public,
    'subject-type': 'public',
    'access-token-duration': 300,
    'refresh-token-duration': 300,
    'code-duration': 60,
    'refresh-token-rolling': false,
    'allow-non-oidc': false,
    'auth-type-code-enabled': true,
    'auth-type-code-revoke-replayed': true,
    'auth-type-token-enabled': false,
    'auth-type-implicit-enabled': false,
    'auth-type-password-enabled': false,
    'auth-type-client-enabled': false,
    'auth-type-device-enabled': false,
    'auth-type-refresh-enabled': false,
    'auth-type-none-enabled': false,
    'jwks-show': true,
    'pkce-allowed': true,
    'pkce-method-plain-allowed': false,
    'name-claim': 'no',
    'email-claim': 'mandatory',
    'scope-claim': 'no',
    claims: [
      { name: 'groups', 'user-property': 'groups', type: 'string', mandatory: true, 'on-demand': false, scope: [] },
      {
        name: 'email_verified',
        'user-property': 'verified',
        type: 'boolean',
        'boolean-value-true': 'yes',
        'boolean-value-false': 'no',
        mandatory: true,
        'on-demand': false,
        scope: [],
      },
    ],
    'session-management-allowed': false,
  },
};

const codes = {
  module: 'otp',
  name: 'otp',
  display_name: 'One-time codes',
  expiration: 600,
  max_use: 0,
  allow_user_register: true,
  parameters: {
    issuer: 'tests',
    'secret-minimum-size': 16,
    'otp-length': 6,
    'hotp-allow': false,
    'hotp-window': 0,
    'totp-allow': true,
    'totp-window': 1,
    'totp-start-offset': 0,
  },
};

const openid = {
  name: 'openid',
  display_name: 'OpenID',
  description: 'who somebody is',
  password_required: true,
  password_max_age: 0,
  scheme: { second: [{ scheme_type: 'otp', scheme_name: 'otp' }] },
  scheme_required: { second: 1 },
};

async function make() {
  const admin = browser();
  await admin('POST', '/api/auth', { json: { username: 'admin', password: 'password' } });
  await admin('POST', '/api/mod/scheme/', { json: codes });
  await admin('POST', '/api/mod/plugin/', { json: plugin });
  await admin('PUT', '/api/scope/openid', { json: openid });
  const users = await (await admin('GET', '/api/mod/user/database')).json();
  const property = (multiple) => ({ multiple, read: true, write: true, 'profile-read': false, 'profile-write': false });
  Object.assign(users.parameters['data-format'], { groups: property(true), verified: property(false) });
  await admin('PUT', '/api/mod/user/database', { json: users });
  await admin('PUT', '/api/mod/user/database/reset/');
  const { name: username, email, groups } = user;
  const scope = ['openid', 'g_profile'];
  await admin('POST', '/api/user/', { json: { username, password, name: username, email, groups, verified: 'yes', scope, enabled: true } });
  await admin('POST', '/api/client/', {
    json: {
      client_id: client,
      name: client,
      confidential: false,
      redirect_uri: [redirect],
      authorization_type: ['code'],
      token_endpoint_auth_method: ['none'],
      scope: [],
      enabled: true,
    },
  });
  const own = browser();
  await withPassword(own);
  const value = { type: 'TOTP', secret: base32(secret), time_step_size: 30 };
  await own('POST', '/api/profile/scheme/register/', { json: { username, scheme_type: 'otp', scheme_name: 'otp', value } });
}

async function signIn() {
  const ask = browser();
  await withPassword(ask);
  if (about.with_code) {
    const value = { value: totp(secret) };
    await ask('POST', '/api/auth', { json: { username: user.name, scheme_type: 'otp', scheme_name: 'otp', value } });
  }
  await ask('PUT', `/api/auth/grant/${client}`, { json: { scope: 'openid' } });
  console.log(await idToken(ask, ask));
  console.log(await idToken(ask, browser()));
}

// The code flow: `ask` gets the code, `exchange` gets the tokens.
async function idToken(ask, exchange) {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    client_id: client,
    response_type: 'code',
    scope: 'openid',
    redirect_uri: redirect,
    state: randomBytes(8).toString('hex'),
    nonce: randomBytes(16).toString('hex'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    g_continue: '',
  });
  const next = new URL((await ask('GET', `/api/oidc/auth?${query}`)).headers.get('location'));
  const code = next.searchParams.get('code');
  if (!code) throw new Error(`no code: ${next}`);
  const form = { grant_type: 'authorization_code', client_id: client, code, code_verifier: verifier, redirect_uri: redirect };
  return (await (await exchange('POST', '/api/oidc/token', { form })).json()).id_token;
}

await (what === 'make' ? make() : signIn());
