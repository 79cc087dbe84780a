//! What comes out, and what never does.

use proptest::prelude::*;

use super::*;

fn settings() -> IdentitySettings {
    toml::from_str(
        "api_key = ['header:x-app', 'bearer', 'query:app', 'cookie:app']\n\
         session = ['cookie:visit', 'header:x-visit', 'query:visit']\n\
         user = ['jwt:sub', 'header:x-who']\n\
         jwt = { source = ['bearer', 'header:x-ticket', 'query:ticket', 'cookie:ticket'] }",
    )
    .unwrap()
}

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

fn check(name: &str, value: &str, expected: &str) {
    let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    headers.insert(&name, value.parse().unwrap());
    let redacted = headers_of(&settings, &hasher, &headers);
    // `{secret}` stands for the hash of `secret`.
    let expected = ["0123456789", "s3cret", "dXNlcg==", "dark"]
        .into_iter()
        .fold(expected.to_owned(), |text, secret| {
            text.replace(&format!("{{{secret}}}"), &hasher.hash(secret).to_string())
        })
        .replace("{token}", &hasher.hash(TOKEN).to_string());
    assert!(
        redacted.iter().eq([[name.as_str(), expected.as_str()]]),
        "{redacted:?} {expected}"
    );
}

fn redacted<T>(
    settings: &IdentitySettings,
    hasher: &KeyHasher,
    (headers, query): (&HeaderMap, &str),
    redact: impl FnOnce(&Redactor<'_>) -> T,
) -> T {
    let secrets = settings.secrets(headers, query);
    redact(&Redactor::new((settings, hasher), &secrets, None))
}

fn headers_of(settings: &IdentitySettings, hasher: &KeyHasher, headers: &HeaderMap) -> HeaderLines {
    redacted(settings, hasher, (headers, ""), |redactor| {
        redactor.headers(headers)
    })
}

fn query_of(
    settings: &IdentitySettings,
    hasher: &KeyHasher,
    headers: &HeaderMap,
    query: &str,
) -> String {
    redacted(settings, hasher, (headers, query), |redactor| {
        redactor.query(query).into_owned()
    })
}

fn path_of(
    settings: &IdentitySettings,
    hasher: &KeyHasher,
    headers: &HeaderMap,
    path: &str,
) -> String {
    redacted(settings, hasher, (headers, ""), |redactor| {
        redactor.path(path).into_owned()
    })
}

#[test]
fn secrets_are_replaced_and_the_rest_stays() {
    check("accept", "*/*", "*/*");
    check("user-agent", "curl/8.5", "curl/8.5");
    check("x-app", "0123456789", "012…#{0123456789}");
    check(
        "authorization",
        "Bearer 0123456789",
        "Bearer 012…#{0123456789}",
    );
    check("authorization", "Basic dXNlcg==", "Basic #{dXNlcg==}");
    check("authorization", "s3cret", "#{s3cret}");
    check("cookie", "a=s3cret; theme=", "a=#{s3cret}; theme=");
    check("cookie", "s3cret", "#{s3cret}");
    check("set-cookie", "s3cret", "#{s3cret}");
    check("x-forwarded-access-authorization", "s3cret", "#{s3cret}");
    check("dpop", "s3cret", "#{s3cret}");
    check("host", "user:s3cret@a.test", "a.test");
    check("referer", "https://u:s3cret@a.test/x", "https://a.test/x");
    check(
        "x-original-url",
        "/a?b=1&token=s3cret",
        "/a?b=1&token=#{s3cret}",
    );
    check("x-address", "me@a.test", "me@a.test");
    check("x-visit", "s3cret", "#{s3cret}");
    check("x-who", "s3cret", "#{s3cret}");
    check("x-whom", "carol", "carol");
    check("x-ticket", "s3cret", "#{s3cret}");
    check("x-csrf-token", "s3cret", "#{s3cret}");
    check("referer", "https://a.test/p?q=1", "https://a.test/p?q=1");
    check(
        "referer",
        "https://a.test/p?q=1&code=s3cret#access_token=s3cret",
        "https://a.test/p?q=1&code=#{s3cret}#access_token=#{s3cret}",
    );
}

#[test]
fn tokens_are_found_by_their_looks() {
    check(
        "authorization",
        &format!("Bearer {TOKEN}"),
        "Bearer #{token}",
    );
    check(
        "authorization",
        &format!("bearer  {TOKEN}"),
        "bearer #{token}",
    );
    check("x-app", TOKEN, "#{token}");
    check(
        "cookie",
        &format!("a={TOKEN}; theme=dark"),
        "a=#{token}; theme=#{dark}",
    );
    check("x-debug", &format!("got {TOKEN}!"), "got #{token}!");
    check(
        "referer",
        &format!("https://a.test/{TOKEN}/x?page=2"),
        "https://a.test/#{token}/x?page=2",
    );
    check("x-debug", &format!("{TOKEN},{TOKEN}"), "#{token},#{token}");
    let encoded = TOKEN.replace('.', "%2E");
    check("x-debug", &format!("a/{encoded}"), "a/#{token}");
    check("x-debug", "eyes.on.me", "eyes.on.me");
}

#[test]
fn copies_of_a_session_are_found() {
    let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
    let mut headers = HeaderMap::new();
    headers.insert("cookie", "a=b; visit=0123456789".parse().unwrap());
    headers.insert("x-copy", "<0123456789>".parse().unwrap());
    let hash = format!("#{}", hasher.hash("0123456789"));
    let lines = headers_of(&settings, &hasher, &headers);
    assert_eq!(lines.iter().nth(1).unwrap()[1], format!("<{hash}>"));
    let query = query_of(
        &settings,
        &hasher,
        &headers,
        "page=2&x=0123456789&y=01234567%38%39",
    );
    assert_eq!(query, format!("page=2&x={hash}&y={hash}"));
    let path = path_of(&settings, &hasher, &headers, "/visits/0123456789");
    assert_eq!(path, format!("/visits/{hash}"));
    assert_eq!(
        query_of(&settings, &hasher, &HeaderMap::new(), "x=0123456789"),
        "x=0123456789"
    );
    assert_eq!(
        query_of(&settings, &hasher, &HeaderMap::new(), "visit=0123456789"),
        format!("visit={hash}")
    );
    // What a header says of a user is a name, which may stand in any path.
    headers.insert("x-who", "carol-the-great".parse().unwrap());
    assert_eq!(
        path_of(&settings, &hasher, &headers, "/u/carol-the-great"),
        "/u/carol-the-great"
    );
}

#[test]
fn queries() {
    let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
    let check = |query: &str, expected: &str| {
        let redacted = query_of(&settings, &hasher, &HeaderMap::new(), query);
        let hash = format!("#{}", hasher.hash("s3cret"));
        assert_eq!(redacted, expected.replace("{}", &hash), "{query}");
    };
    check("", "");
    check("cursor=abc&limit=50", "cursor=abc&limit=50");
    check("a=1&Access_Token=s3cret&b", "a=1&Access_Token={}&b");
    check("pass%77ord=s3cret", "pass%77ord={}");
    check("token=s3%63ret", "token={}");
    check("password=", "password=");
    check("a=1;password=s3cret;b=2", "a=1;password={};b=2");
    check("pwd=s3cret&sid=s3cret&inside=1", "pwd={}&sid={}&inside=1");
    check(
        "Authorization=s3cret&PHPSESSID=s3cret",
        "Authorization={}&PHPSESSID={}",
    );
}

#[test]
fn paths() {
    let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
    let mut headers = HeaderMap::new();
    headers.insert("x-app", "0123456789".parse().unwrap());
    let check = |path: &str, expected: &str| {
        let redacted = path_of(&settings, &hasher, &headers, path);
        let key = format!("012…#{}", hasher.hash("0123456789"));
        let secret = format!("#{}", hasher.hash("s3cret"));
        let expected = expected.replace("{key}", &key).replace("{}", &secret);
        assert_eq!(redacted, expected, "{path}");
    };
    check("/users/7", "/users/7");
    check("/keys/0123456789/use", "/keys/{key}/use");
    check("/keys/01234567%38%39", "/keys/{key}");
    check("/users;jsessionid=s3cret", "/users;jsessionid={}");
    check("/users;page=2", "/users;page=2");
}

#[test]
fn an_encoded_copy_of_the_key_is_found() {
    let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
    let key = format!("012…#{}", hasher.hash("0123456789"));
    let query = "a=%301234%356789&app=0123456789";
    let redacted = query_of(&settings, &hasher, &HeaderMap::new(), query);
    assert!(redacted.starts_with(&format!("a={key}&")), "{redacted}");
    let mut headers = HeaderMap::new();
    headers.insert("referer", "/0123456789?a=01234567%38%39".parse().unwrap());
    headers.insert("x-app", "0123456789".parse().unwrap());
    let redacted = headers_of(&settings, &hasher, &headers);
    assert_eq!(
        redacted.iter().next().unwrap()[1],
        format!("/{key}?a={key}")
    );
    let query = "next=%2Flogin%3Ftoken%3Ds3cret";
    let redacted = query_of(&settings, &hasher, &HeaderMap::new(), query);
    let value = hasher.hash("/login?token=s3cret");
    assert_eq!(redacted, format!("next=#{value}"));
    let plain = "next=%2Flogin%3Fpage%3D2";
    assert_eq!(
        query_of(&settings, &hasher, &HeaderMap::new(), plain),
        plain
    );
}

proptest! {
    /// A secret in any of the places for secrets never comes out, however it is dressed.
    #[test]
    fn a_canary_never_comes_out(
        canary in "[a-zA-Z0-9]{16,40}",
        place in 0_usize..20,
        noise in "[a-z]{0,8}",
    ) {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let mut headers = HeaderMap::new();
        let mut query = String::new();
        let mut put = |name: &'static str, value: String| {
            headers.append(name, value.parse().unwrap());
        };
        match place {
            0 => put("x-app", canary.clone()),
            1 => put("authorization", format!("Bearer {canary}")),
            2 => put("authorization", format!("{canary} {noise}")),
            3 => put("authorization", format!("Digest {noise}, {canary}")),
            4 => put("cookie", format!("{noise}={canary}; b={canary}")),
            5 => put("cookie", canary.clone()),
            6 => put("proxy-authorization", format!("Basic {canary}")),
            7 => put("x-auth-token", format!("{noise}{canary}")),
            8 => put("referer", format!("https://a.test/?{noise}=1&api_key={canary}")),
            9 => query = format!("app={canary}&copy={canary}"),
            10 => {
                put("x-app", canary.clone());
                put("x-copy", format!("{noise} {canary}"));
            }
            11 => query = format!("{noise}=1&client_secret={canary}"),
            12 => put("x-visit", canary.clone()),
            13 => {
                put("cookie", format!("{noise}=1; visit={canary}"));
                put("x-copy", format!("{noise} {canary}"));
                query = format!("{noise}={canary}");
            }
            14 => query = format!("visit={canary}&copy={canary}"),
            15 => put("x-who", canary.clone()),
            16 => put("authorization", format!("Bearer eyJ0eXAiOiJKV1Qi.{canary}.{noise}")),
            17 => put("x-copy", format!("{noise} eyJ0eXAiOiJKV1Qi.{noise}.{canary}")),
            18 => query = format!("{noise}=eyJ0eXAiOiJKV1Qi%2e{canary}%2E{noise}"),
            _ => put("cookie", format!("ticket=eyJ0eXAiOiJKV1Qi.{canary}.{canary}")),
        }
        let secrets = settings.secrets(&headers, &query);
        let identity = secrets.key.as_ref().map(|key| hasher.identify(key, |_| None));
        for identity in [None, identity.as_ref()] {
            let redactor = Redactor::new((&settings, &hasher), &secrets, identity);
            let output = format!("{:?} {}", redactor.headers(&headers), redactor.query(&query));
            prop_assert!(!output.contains(&canary), "{}", output);
        }
    }
}
