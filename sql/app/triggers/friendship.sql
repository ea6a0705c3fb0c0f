-- Friends: the addressee hears of a request, the requester of its acceptance.

select tidings.watch('friend_request', 'app.friendship',
  recipients => 'new.addressee_id',
  condition => $$new.status = 'pending'$$,
  type => 'friend_request',
  event => $$jsonb_build_object('type', 'friend_request', 'from_user', app.user_ref(new.requester_id))$$,
  title => $$'Friend request'$$,
  message => $$(app.user_ref(new.requester_id) ->> 'username') || ' sent you a friend request'$$,
  data => $$jsonb_build_object('request_id', new.id, 'user_id', new.requester_id)$$,
  actor => 'null');

select tidings.watch('friend_accepted', 'app.friendship',
  operations => '{update}',
  recipients => 'new.requester_id',
  condition => $$new.status = 'accepted' and old.status <> 'accepted'$$,
  type => 'friend_accepted',
  event => $$jsonb_build_object('type', 'friend_accepted', 'from_user', app.user_ref(new.addressee_id))$$,
  title => $$'Friend request accepted'$$,
  message => $$(app.user_ref(new.addressee_id) ->> 'username') || ' accepted your friend request'$$,
  data => $$jsonb_build_object('request_id', new.id, 'user_id', new.addressee_id)$$,
  actor => 'null');
