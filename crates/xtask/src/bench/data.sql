-- About 16 kB of dump text for each unit of 1; a megabyte has 64.
create extension if not exists pgcrypto;
create function words(seed bigint, count integer) returns text language sql immutable as $$
  select string_agg((array['customer','order','invoice','delivery','pending','shipped','paid','address','street','Berlin','Hamburg',
    'München','contact','person','email','phone','note','reminder','contract','renewal','quarter','budget','project','meeting',
    'agenda','report','summary','value','amount','discount','product','catalogue','service','support','ticket','priority'])
    [1 + (hashint8(seed * 1000 + i) & 2147483647) % 36], ' ') from generate_series(1, count) i $$;
create table users (id bigint primary key, email text unique, name text, token text, created timestamptz, active boolean);
insert into users select i, 'user' || i || '@example.com', words(i, 2), md5(i::text) || substr(md5((i * 31)::text), 1, 10), timestamptz '2020-01-01' + i * interval '61 seconds', i % 7 <> 0
  from generate_series(1::bigint, UNITS * 30) i;
create table orders (id bigint primary key, user_id bigint references users, total numeric(12,2), status text, placed timestamptz, note text);
insert into orders select i, 1 + i % (UNITS * 30), (i * 7919 % 1000000) / 100.0, (array['new','paid','sent','done'])[1 + i % 4],
  timestamptz '2021-01-01' + i * interval '17 seconds', words(i, 3) || ' ' || substr(md5((i * 17)::text), 1, 12) from generate_series(1::bigint, UNITS * 60) i;
create index on orders (user_id);
create table events (id bigint primary key, at timestamptz, body jsonb);
insert into events select i, timestamptz '2022-01-01' + i * interval '3 seconds',
  jsonb_build_object('type', (array['view','click','buy','login'])[1 + i % 4], 'user', i % (UNITS * 30), 'session', md5((i / 9)::text),
    'path', '/' || replace(words(i, 3), ' ', '/'), 'ms', i * 31 % 4000) from generate_series(1::bigint, UNITS * 20) i;
create index on events using gin (body jsonb_path_ops);
create table articles (id bigint primary key, title text, body text);
insert into articles select i, words(i, 6), (select string_agg(w || ' ' || substr(md5((i * 1000 + n)::text), 1, 3 + n::integer % 6), ' ')
    from regexp_split_to_table(words(i + 500000, 150), ' ') with ordinality as t(w, n)) from generate_series(1::bigint, UNITS * 2) i;
create role bench_reader login password 'reader';
grant select on all tables in schema public to bench_reader;
select lo_from_bytea(0, decode(repeat(md5('large'), 4096), 'hex'));
analyze;
