//! The subject token: which human signed in, where, when and how.

use crate::UnixTime;
use crate::claims::Claims;
use crate::jwk::JwkSet;
use crate::jwt::{Jwt, JwtError};
use crate::refusal::Refusal;
use crate::request::TokenType;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tether_identity::{Human, Thumbprint};

/// The most groups of one human that are read.
const GROUPS_MAX: usize = 1000;

/// What is known of an identity provider.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its `iss`.
    pub issuer: String,
    /// The `aud` that its tokens must have, one of them: the client ids that humans sign in to.
    pub audiences: Vec<String>,
    /// The claim that holds the human's name.
    pub human_claim: String,
    /// The claim that lists groups, if it has one.
    pub groups_claim: Option<String>,
    /// The namespaces that it speaks for, such as `@example.org`.
    pub namespaces: Vec<String>,
    /// Values of `acr` that are taken; any, or none at all, if empty.
    pub acr: Vec<String>,
    /// Its own words for factors, and those of RFC 8176.
    pub amr: BTreeMap<String, String>,
}

/// A sign-in that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The provider.
    pub issuer: String,
    /// The human.
    pub human: Human,
    /// The provider's own name for the human.
    pub sub: String,
    /// Their groups.
    pub groups: BTreeSet<String>,
    /// When the token was issued.
    pub issued_at: UnixTime,
    /// Until when it holds.
    pub expires_at: UnixTime,
    /// When the human signed in.
    pub auth_time: UnixTime,
    /// With which factors (RFC 8176).
    pub amr: Vec<String>,
    /// The class of the sign-in.
    pub acr: Option<String>,
    /// The only agent that may act for the human, if the token names one (RFC 8693, 4.4).
    pub may_act: Option<String>,
    /// The key that the token is bound to, if it is.
    pub bound_to: Option<Thumbprint>,
    /// SHA-256 of the token: what stands in records and in the delegation as evidence.
    pub digest: String,
}

/// Who a token says it is from, unverified: to choose among providers.
pub fn claimed_issuer(token: &str) -> Result<(String, Option<String>), Refusal> {
    let jwt = split(token)?;
    let issuer = jwt.unverified("iss").map(str::to_owned);
    Ok((issuer.ok_or_else(|| refuse("iss", "it has no iss"))?, jwt.kid))
}

impl Subject {
    /// Checks a token of a provider's with its keys.
    pub fn verify(
        token: &str,
        kind: TokenType,
        provider: &Provider,
        keys: &JwkSet,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let jwt = split(token)?;
        check_typ(&jwt, kind)?;
        let key = keys.find(jwt.kid.as_deref(), jwt.algorithm);
        let key = key.ok_or_else(|| refuse("unknown_key", format_args!("no key of {} fits it", provider.issuer)))?;
        let map = jwt.verify(key).map_err(|error| refuse(error.code(), error))?;
        let claims = Claims { map: &map, what: "subject" };
        if claims.text("iss")? != provider.issuer {
            return Err(refuse("iss", format_args!("it is not from {}", provider.issuer)));
        }
        check_audience(&claims, provider)?;
        if map.contains_key("act") {
            return Err(refuse("act", "it says that another acts for the human already"));
        }
        Self::read(&claims, provider, &provider.human_claim, token, now)
    }

    /// What the claims of a checked token say of the human: a sign-in's, or those of a provider's own delegation.
    pub(crate) fn read(
        claims: &Claims<'_>,
        provider: &Provider,
        human_claim: &str,
        token: &str,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let (issued_at, expires_at) = claims.check_times(now)?;
        let auth_time = claims.time("auth_time")?;
        if auth_time > issued_at.min(now).saturating_add(crate::LEEWAY) {
            return Err(claims.refuse("auth_time", "its auth_time is after its iat"));
        }
        let acr = claims.optional("acr")?;
        if !provider.acr.is_empty() && !acr.is_some_and(|acr| provider.acr.iter().any(|one| one == acr)) {
            let why = format_args!("its acr is {acr:?}, accepted are {:?}", provider.acr);
            return Err(claims.refuse("acr", why));
        }
        Ok(Self {
            issuer: provider.issuer.clone(),
            human: human(claims, provider, human_claim)?,
            sub: claims.text("sub")?.to_owned(),
            groups: groups(claims, provider)?,
            issued_at,
            expires_at,
            auth_time,
            amr: factors(claims, provider)?,
            acr: acr.map(str::to_owned),
            may_act: may_act(claims)?,
            bound_to: bound_to(claims)?,
            digest: Base64UrlUnpadded::encode_string(&Sha256::digest(token.as_bytes())),
        })
    }
}

/// Whether the factors are of two kinds: something known, had, or been; or the provider says so itself.
pub fn is_multi_factor(amr: &[String]) -> bool {
    let kind = |method: &String| match method.as_str() {
        "pwd" | "pin" | "kba" => Some(0),
        "otp" | "hwk" | "swk" | "sms" | "tel" | "sc" | "pop" => Some(1),
        "face" | "fpt" | "iris" | "retina" | "vbm" => Some(2),
        _ => None,
    };
    let kinds: BTreeSet<i32> = amr.iter().filter_map(kind).collect();
    kinds.len() > 1 || amr.iter().any(|method| method == "mfa")
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::request(format!("subject.{code}"), format_args!("the subject token is refused: {why}"))
}

fn split(token: &str) -> Result<Jwt<'_>, Refusal> {
    Jwt::split(token, &[]).map_err(|error| refuse(error.code(), error))
}

/// ID tokens have `JWT` or nothing; anything else is a token for another purpose, a delegation above all.
fn check_typ(jwt: &Jwt<'_>, kind: TokenType) -> Result<(), Refusal> {
    let typ = jwt.typ().to_ascii_lowercase();
    let (fits, wanted) = match kind {
        TokenType::Id => (matches!(typ.as_str(), "" | "jwt" | "id+jwt"), "JWT"),
        TokenType::Access => (typ == "at+jwt", "at+jwt"),
        // Any JWT at all is a provider's own delegation, or nothing.
        TokenType::Jwt => (false, "that of an ID token or an access token"),
    };
    if fits {
        return Ok(());
    }
    let error = JwtError::Typ { found: jwt.typ().to_owned(), wanted };
    Err(refuse(error.code(), error))
}

/// Several audiences need an `azp`, and an `azp` must be one of ours (OpenID Connect Core, 3.1.3.7).
fn check_audience(claims: &Claims<'_>, provider: &Provider) -> Result<(), Refusal> {
    let ours = |one: &str| provider.audiences.iter().any(|audience| audience == one);
    let audiences = claims.one_or_more("aud")?;
    if !audiences.iter().any(|one| ours(one)) {
        return Err(refuse("aud", format_args!("it is for {audiences:?}, not for us")));
    }
    match claims.optional("azp")? {
        Some(azp) if !ours(azp) => Err(refuse("azp", format_args!("it was made for {azp:?}"))),
        None if audiences.len() > 1 => Err(refuse("azp", "it has several audiences and no azp")),
        _ => Ok(()),
    }
}

fn human(claims: &Claims<'_>, provider: &Provider, name: &str) -> Result<Human, Refusal> {
    let human: Human = claims
        .text(name)?
        .parse()
        .map_err(|why| claims.refuse("human", format_args!("its {name} is malformed: {why}")))?;
    // A name that anybody can type into a profile is no name.
    if name == "email" && claims.map.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(claims.refuse("email_verified", "the provider has not verified its email"));
    }
    if !provider.namespaces.iter().any(|namespace| human.is_in(namespace)) {
        return Err(claims.refuse("namespace", format_args!("{human} is in no namespace of {}", provider.issuer)));
    }
    Ok(human)
}

fn groups(claims: &Claims<'_>, provider: &Provider) -> Result<BTreeSet<String>, Refusal> {
    let Some(name) = &provider.groups_claim else { return Ok(BTreeSet::new()) };
    let groups = claims.texts(name)?;
    if groups.len() > GROUPS_MAX {
        return Err(claims.refuse("groups", format_args!("it lists more than {GROUPS_MAX} groups")));
    }
    Ok(groups.into_iter().collect())
}

fn factors(claims: &Claims<'_>, provider: &Provider) -> Result<Vec<String>, Refusal> {
    let known = |factor: String| provider.amr.get(&factor).cloned().unwrap_or(factor);
    Ok(claims.texts("amr")?.into_iter().map(known).collect())
}

fn may_act(claims: &Claims<'_>) -> Result<Option<String>, Refusal> {
    let Some(value) = claims.map.get("may_act") else { return Ok(None) };
    let sub = value.get("sub").and_then(Value::as_str);
    sub.map(|sub| Some(sub.to_owned())).ok_or_else(|| claims.refuse("may_act", "its may_act names nobody (sub)"))
}

fn bound_to(claims: &Claims<'_>) -> Result<Option<Thumbprint>, Refusal> {
    let Some(value) = claims.map.get("cnf") else { return Ok(None) };
    let jkt = value.get("jkt").and_then(Value::as_str).and_then(|jkt| jkt.parse().ok());
    jkt.map(Some).ok_or_else(|| claims.refuse("cnf", "it is bound to something that is not a key's thumbprint (jkt)"))
}
