-- The shop's own tables, in the database that pgsched's table is in: so one transaction can hold both.
create table orders (
    id int generated always as identity primary key,
    email text not null,
    cents int not null,
    card text,                                  -- null: the customer pays by bank transfer
    pay_by timestamptz not null,
    state text not null default 'open' check (state in ('open', 'paid', 'declined', 'expired'))
);

-- The primary keys below make tasks harmless to run twice: there is one payment, one mail, one product to insert.
create table payments (
    order_id int primary key references orders,
    reference text not null unique
);

create table mails (
    order_id int primary key references orders,
    sent_at timestamptz not null default now()
);

create table products (
    sku text primary key,
    name text not null,
    price numeric(10, 2) not null,
    stock int not null,
    runs int not null default 1                 -- how often its row was imported; its stock counts once
);
